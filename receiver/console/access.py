"""Finds out who asks, by a session's cookie or a bearer token, and refuses forged forms."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec
from anyio import to_thread
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from receiver.console.accounts import LONGEST, Accounts
from receiver.console.roles import Role

#: The cookie of a session. Browsers take one of this name only over HTTPS, from this host.
_SECURE_COOKIE = "__Host-receiver"
_LOCAL_COOKIE = "receiver"
#: The field of a form with its token.
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
_BEARER = "bearer "


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks."""

    name: str
    role: Role
    secret: str = ""
    """Of the session; empty for a token."""

    @property
    def form_token(self) -> str:
        """The token that each form of this session carries, which no other site can know."""
        return hmac.digest(self.secret.encode(), b"form", "sha256").hex()


async def visitor_of_session(accounts: Accounts, request: Request) -> Visitor | None:
    """Returns the user whose session the cookie is of."""
    secret = request.cookies.get(_cookie(request))
    if not secret:
        return None
    user = await to_thread.run_sync(accounts.user_of, secret)
    return Visitor(name=user.name, role=user.role, secret=secret) if user else None


async def visitor_of_token(accounts: Accounts, request: Request) -> Visitor | None:
    """Returns the token in the Authorization header."""
    header = request.headers.get("authorization", "")
    if not header.lower().startswith(_BEARER):
        return None
    token = await to_thread.run_sync(accounts.holder_of, header[len(_BEARER) :].strip())
    return Visitor(name=f"token {token.name}", role=token.role) if token else None


def is_own_form(request: Request, form: FormData, visitor: Visitor | None) -> bool:
    """Returns True for a form that a page of ours sent, and no other site."""
    if not comes_from_us(request):
        return False
    given = form.get(FORM_TOKEN)
    return visitor is None or (
        isinstance(given, str) and hmac.compare_digest(given.encode(), visitor.form_token.encode())
    )


def comes_from_us(request: Request) -> bool:
    """Returns True if the browser says that the request comes from a page of ours."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def set_session(response: Response, request: Request, secret: str) -> None:
    """Gives the browser the secret of a session, or takes it away (empty)."""
    response.set_cookie(
        _cookie(request),
        secret,
        max_age=int(LONGEST.total_seconds()) if secret else 0,
        httponly=True,
        secure=not _is_local(request),
        samesite="strict",
        path="/",
    )


def own_path(text: str) -> str:
    """Returns a path of ours to go on with; `/` for any other address."""
    safe = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if safe and text.isprintable() else "/"


def _cookie(request: Request) -> str:
    return _LOCAL_COOKIE if _is_local(request) else _SECURE_COOKIE


def _is_local(request: Request) -> bool:
    """Returns True if the browser runs on this machine and asks for it by that name, not by TLS."""
    if request.url.scheme == "https" or not request.client:
        return False
    host = urlsplit(f"//{request.headers.get('host', '')}")
    return _is_loopback(request.client.host) and _is_loopback(host.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
