"""Checks the public URL of the service: DNS, certificate and reverse proxy."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import httpx2

from receiver.doctor.findings import Finding, Installation, green, red, yellow
from receiver.net.bounded import bounded, fetch
from receiver.net.client import tls_context
from receiver.service.readiness import NOT_READY

#: Seconds for one answer, and its bytes: a stranger may give it.
_TIMEOUT = 5.0
_MOST_BYTES = 1024 * 1024
#: A source that no configuration has.
_NOBODY = "/hooks/nobody-but-receiver-doctor"
#: Paths that must not be served in public.
_PRIVATE = ("/", "/metrics")
#: Days before the end of a certificate: automatic renewal comes earlier than the first.
_SOON, _NOW = 14, 3
_PROXY = "use the proxy settings of docs/deploy"

Ask = Callable[[str, str], Awaitable[httpx2.Response]]
"""Makes a request to a URL. Raises httpx2.HTTPError."""


async def public(installation: Installation) -> list[Finding]:
    """Checks what answers at the public URL, if one was given."""
    if installation.outside is None:
        return []
    base = installation.outside.rstrip("/")
    client = httpx2.AsyncClient(verify=tls_context(), timeout=_TIMEOUT)
    async with bounded(client, _MOST_BYTES):
        ask = partial(fetch, client, most_bytes=_MOST_BYTES, seconds=_TIMEOUT)
        try:
            return await _look(base, ask, installation.clock())
        except httpx2.HTTPError as error:
            do = "check DNS, firewall, certificate and proxy"
            return [red(f"{base} cannot be reached: {_error_text(error)}", do)]


async def _look(base: str, ask: Ask, now: datetime) -> list[Finding]:
    """Raises httpx2.HTTPError for an answer that does not come."""
    alive = await ask("GET", f"{base}/healthz")
    found = [*certificate(_peer_certificate(alive), now), _expected(alive, "alive")]
    if urlsplit(base).scheme != "https":
        why = "no HTTPS: tokens and texts can be read on the way"
        found.append(red(f"{base}: {why}", f"give the proxy a certificate; {_PROXY}"))
    if alive.status_code == 200:
        found += [
            _expected(await ask("GET", f"{base}/readyz"), "ready"),
            _expected(await ask("POST", f"{base}{_NOBODY}"), "Not Found", status=404),
            *[private(path, await ask("GET", f"{base}{path}")) for path in _PRIVATE],
        ]
    if plain := plain_address(base):
        found.append(await _plain(ask, plain))
    return found


def _error_text(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _expected(answer: httpx2.Response, words: str, *, status: int = 200) -> Finding:
    """Checks whether the service itself answered, and not a program in front of it."""
    path, text = answer.request.url.path, " ".join(answer.text.split())[:200]
    if (answer.status_code, text) == (status, words):
        return green(f"{path} is answered by the service")
    if answer.is_redirect:
        where = answer.headers.get("location", "nowhere")
        do = "enter the new address in the portals, or remove the redirect from the proxy"
        return red(f"{path} is redirected to {where}: providers do not follow", do)
    if path == "/readyz" and text.startswith(NOT_READY):
        do = "remove the reason, which its log tells; see docs/operations.md, `Providers get 503`"
        return red(f"the service takes no pushes: {text.removeprefix(NOT_READY)}", do)
    said = f"{path} answers HTTP {answer.status_code}, which is not the service's answer"
    return red(said, f"make the proxy pass it on to the service; {_PROXY}")


def private(path: str, answer: httpx2.Response) -> Finding:
    """Checks that the proxy does not serve a private path."""
    if "receiver_commits_total" in answer.text:
        do = f"make the proxy pass on only /hooks/, /healthz and /readyz; {_PROXY}"
        return red(f"{path}: everybody can read the metrics", do)
    if answer.status_code in (401, 403, 404):
        return green(f"{path} is not served ({answer.status_code})")
    do = "nothing if another site is meant to be there"
    return yellow(f"{path} answers HTTP {answer.status_code}: something else is served there", do)


def _peer_certificate(answer: httpx2.Response) -> str | None:
    """Returns the end of the certificate as OpenSSL writes it; None without TLS."""
    stream = answer.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream else None
    if tls is None:
        return None
    until: str | None = (tls.getpeercert() or {}).get("notAfter")
    return until


def certificate(until: str | None, now: datetime) -> list[Finding]:
    """Checks how long the certificate is valid; the connection has verified it already."""
    if until is None:
        return []
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
    days = (end - now).days
    said = f"the certificate is valid for {days} days, until {end:%Y-%m-%d}"
    do = "renew it: systemctl status certbot.timer, or Caddy's log, says why that did not happen"
    if days < _NOW:
        return [red(said, do)]
    return [yellow(said, do) if days < _SOON else green(said)]


def plain_address(base: str) -> str | None:
    """Returns the URL of the same host without HTTPS; None where it is not known."""
    parts = urlsplit(base)
    if parts.scheme != "https" or parts.port not in (None, 443):
        return None
    return f"http://{parts.hostname}"


async def _plain(ask: Ask, plain: str) -> Finding:
    try:
        answer = await ask("GET", f"{plain}/healthz")
    except httpx2.HTTPError:
        return green("nothing answers without HTTPS")
    return without_tls(answer)


def without_tls(answer: httpx2.Response) -> Finding:
    """Checks that pushes with their tokens cannot come without HTTPS."""
    if answer.status_code == 200 and answer.text == "alive\n":
        do = "make the proxy pass on nothing from port 80"
        return red("the service answers without HTTPS too: tokens can be read on the way", do)
    return green(f"without HTTPS there is no service (HTTP {answer.status_code})")
