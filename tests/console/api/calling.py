"""The console in this process beside a service, and a program that calls its API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from receiver import config
from receiver.console.accounts import Accounts
from receiver.console.api.operations import ROOT
from receiver.console.app import create_app
from receiver.console.desk import Desk
from receiver.console.roles import Role
from receiver.console.web import Console
from receiver.errors import PushError
from receiver.service import control
from receiver.service.parts import Service
from receiver.store.engine.console_data import accounts_path
from tests.harness import TOKEN, delivery, inbound, opened, settings, subscription, take

#: Two people, who appear in everything.
ANN, BEN = "+254726770792", "+254708400000"
RAW = settings()
RAW["sources"]["tilil"]["send"] = {
    "api_key": "key-of-the-tests",
    "url": "http://127.0.0.1:9/",
    "sender": "22915",
}


class Caller:
    """A program with a token of each role."""

    def __init__(self, console: Console, service: Service) -> None:
        self.console = console
        self.service = service
        self.tokens = {role: console.accounts.add_token(role.word, role, "test") for role in Role}
        transport = httpx2.ASGITransport(create_app(console), raise_app_exceptions=False)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://console.test")

    async def call(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = Role.OPERATOR,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx2.Response:
        """The answer to a request below the API's root, or to a link that it gave."""
        bearer = {"authorization": f"Bearer {self.tokens[role]}"} if role else {}
        url = path if path.startswith(ROOT) else f"{ROOT}{path}"
        return await self._client.request(
            method, url, headers={**bearer, **(headers or {})}, **options
        )

    async def get(self, path: str, role: Role = Role.OPERATOR) -> Any:
        """The JSON of an answer that is good."""
        found = await self.call("GET", path, role=role)
        assert found.status_code == 200, found.text
        return found.json()


@contextmanager
def accounts(folder: Path) -> Iterator[Accounts]:
    """The accounts beside the store of a folder."""
    opened_accounts = Accounts(accounts_path(folder / "receiver.db"))
    try:
        yield opened_accounts
    finally:
        opened_accounts.close()


@asynccontextmanager
async def calling(folder: Path, *, listening: bool = True) -> AsyncIterator[Caller]:
    """A service with its control socket, unless not `listening`, and a console that is called."""
    async with opened(folder, RAW) as service:
        settings_ = config.load(folder / "receiver.toml")
        with accounts(folder) as accounts_:
            console = Console(desk=Desk(settings_), accounts=accounts_)
            try:
                if not listening:
                    yield Caller(console, service)
                    return
                async with control.listening(service):
                    yield Caller(console, service)
            finally:
                await console.desk.close()


async def fill(service: Service) -> None:
    """Has a service take messages, a subscription, a STOP, a report, and what is no event."""
    await take(service, inbound(1, "GAME on 0726770792"))
    await take(service, inbound(2, "call me: +254726770792", network_name="0726770792"))
    await take(service, subscription("activation", "20261119100000"))
    await take(service, inbound(3, "STOP", mobile=BEN[1:]))
    await take(service, delivery("m-1", 1), token=TOKEN)
    with suppress(PushError):
        await take(service, b'{"mobile": "254726770792"', token=TOKEN)
