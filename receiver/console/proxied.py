"""Takes the word of proxies in `server.trusted_proxies` about who asks, and by which scheme."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.config.convert import Network
from receiver.http.clients import Proxies, forwarded_in


def behind_proxies(app: ASGIApp, networks: Sequence[Network]) -> ASGIApp:
    """Returns an application whose requests have the browser's address and scheme."""
    proxies = Proxies(networks)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = proxies.client_of(scope, forwarded_in(scope))
            scheme = Headers(scope=scope).get("x-forwarded-proto", "").rpartition(",")[2].strip()
            if not (proxies.sent(scope) and scheme in ("http", "https")):
                scheme = scope["scheme"]
            scope = {**scope, "client": (client, 0), "scheme": scheme}
        await app(scope, receive, send)

    return answer
