"""Browsers that visit the console of a service, in this process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from receiver.console.app import create_app
from receiver.console.pages import PAGES
from receiver.console.roles import Role
from receiver.console.web import Console, Page
from receiver.service.parts import Service
from tests.console.api.calling import calling

PASSWORD = "correct horse battery"
_FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')
_LOCAL = "http://localhost"


class Browser:
    """Somebody's browser: it keeps cookies and says where a form came from."""

    def __init__(self, app: Any, address: str = "127.0.0.1", base: str = _LOCAL) -> None:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False, client=(address, 50000))
        self._client = httpx2.AsyncClient(transport=transport, base_url=base)
        self.cookies = self._client.cookies

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """The answer to a GET; redirects are not followed."""
        return await self.ask("GET", path, headers=headers)

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """The answer to a request."""
        return await self._client.request(method, path, **options)

    async def post(
        self, path: str, form: Mapping[str, str] | None = None, **headers: str
    ) -> httpx2.Response:
        """The answer to a form of a page of ours, with the token of this session."""
        told = {"sec-fetch-site": "same-origin", **headers}
        data = {"form_token": await self.form_token(), **(form or {})}
        return await self.ask("POST", path, data=data, headers=told)

    async def form_token(self) -> str:
        """The token in the forms of this session; empty without one."""
        found = _FORM_TOKEN.search((await self.get("/events")).text)
        return found[1] if found else ""

    async def log_in(self, name: str, password: str = PASSWORD, **more: Any) -> httpx2.Response:
        """The answer to a login."""
        headers = {"sec-fetch-site": "same-origin", **more.pop("headers", {})}
        form = {"name": name, "password": password, **more}
        return await self.ask("POST", "/login", data=form, headers=headers)


class Visited:
    """A console, and ways to visit it."""

    def __init__(self, console: Console, service: Service) -> None:
        self.console = console
        self.service = service
        self.app = create_app(console)

    def stranger(self, address: str = "127.0.0.1", base: str = _LOCAL) -> Browser:
        """A browser of somebody who has not logged in."""
        return Browser(self.app, address, base)

    async def browser(self, role: Role) -> Browser:
        """A browser of somebody with this role, who has logged in."""
        self.console.accounts.add_user(role.word, role, PASSWORD, "test")
        found = self.stranger()
        assert (await found.log_in(role.word)).status_code == 303
        return found


@asynccontextmanager
async def visited(folder: Path, *, listening: bool = True) -> AsyncIterator[Visited]:
    """A service, and its console."""
    async with calling(folder, listening=listening) as caller:
        yield Visited(caller.console, caller.service)


def any_path(page: Page) -> str:
    """A path of a page, about something that is not there."""
    return re.sub(r"{msisdn\b.*?}", "+254793175666", re.sub(r"{(?!msisdn).*?}", "4711", page.path))


GETS = [page for page in PAGES if page.method == "GET"]
POSTS = [page for page in PAGES if page.method == "POST"]
