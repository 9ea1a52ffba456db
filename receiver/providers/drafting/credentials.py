"""Finds credentials in captured pushes, and takes them out: no description holds a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from receiver.providers.drafting.captures import Capture
from receiver.providers.drafting.toml import inline

_FIELDS = ("token", "apitoken", "apikey", "secret", "password", "auth", "accesskey", "key")
_SIGNATURES = ("signature", "hmac", "-sig")
_TOKENS = ("token", "api-key", "apikey", "secret", "access-key")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The places where pushes carry a secret."""

    fields: tuple[str, ...] = ()
    auth: dict[str, Any] = {}
    """The table `[auth]`."""
    signature: str | None = None
    """A header that may be a signature."""

    def without(self, capture: Capture) -> Capture:
        """Returns a push without its secrets."""
        parts = {name: getattr(capture, name) for name in ("query", "form", "json")}
        left = {name: _left(part, self.fields) for name, part in parts.items()}
        return msgspec.structs.replace(capture, **left)

    def lines(self) -> Iterator[str]:
        """Yields the table as text."""
        if self.auth or self.signature:
            yield "[auth]  # besides a token in the URL, which always works"
            yield from (f"{name} = {inline(value)}" for name, value in self.auth.items())
        if self.signature:
            at = inline(f"header:{self.signature}")
            yield "# A signature? Its secret is one of signing_secrets in the source."
            yield f'# hmac = {{ at = {at}, algorithm = "sha256", encoding = "hex" }}'
        if self.auth or self.signature:
            yield ""


def found_in(captures: list[Capture]) -> Credentials:
    """Returns the credentials that the pushes seem to carry."""
    fields = dict.fromkeys(
        name
        for each in captures
        if isinstance(each.payload, dict)
        for name in each.payload
        if name.lower().replace("_", "").replace("-", "") in _FIELDS
    )
    headers = dict.fromkeys(name for each in captures for name in each.headers)
    signatures = [name for name in headers if any(word in name for word in _SIGNATURES)]
    auth: dict[str, Any] = {}
    places: list[Any] = [f"field:{name}" for name in fields]
    for each in captures:
        scheme = each.headers.get("authorization", "").partition(" ")[0].lower()
        if scheme == "basic":
            auth["basic"] = True
        elif scheme == "bearer":
            places.append({"at": "header:authorization", "prefix": "Bearer "})
    places += [
        f"header:{name}"
        for name in headers
        if name not in signatures and any(word in name for word in _TOKENS)
    ]
    unique = [place for n, place in enumerate(places) if place not in places[:n]]
    if unique:
        auth = {"token": unique[0] if len(unique) == 1 else unique, **auth}
    return Credentials(
        fields=tuple(fields), auth=auth, signature=signatures[0] if signatures else None
    )


def _left(part: Any, fields: tuple[str, ...]) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name not in fields}
