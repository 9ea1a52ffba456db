"""The console of `receiver demo`: a process of its own, with one user."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from importlib.util import find_spec

import httpx2
import msgspec

from receiver.config import Config

_USER = "demo"
_PATIENCE = 20.0


class DemoConsole(msgspec.Struct, frozen=True):
    """A console that runs, and who may log in."""

    url: str
    user: str
    password: str


@asynccontextmanager
async def running(settings: Config) -> AsyncIterator[DemoConsole | None]:
    """Runs the console of a configuration; None if it cannot be (its packages are an extra)."""
    if find_spec("argon2") is None:
        yield None
        return
    console = DemoConsole(f"http://{settings.console.listen}", _USER, secrets.token_urlsafe(9))
    _add_user(settings, console)
    with (settings.file.parent / "console.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "receiver", "console", "--config", str(settings.file)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, which ends it
        )
        try:
            yield console if await _began(console.url, process) else None
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _add_user(settings: Config, console: DemoConsole) -> None:
    from receiver.console.accounts import Accounts
    from receiver.console.roles import Role
    from receiver.store.engine.console_data import accounts_path

    with closing(Accounts(accounts_path(settings.store_path))) as accounts:
        accounts.add_user(console.user, Role.ADMIN, console.password, "receiver demo")


async def _began(url: str, process: asyncio.subprocess.Process) -> bool:
    """Returns True as soon as the console answers; False if it ends, or never does."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        while process.returncode is None and asyncio.get_running_loop().time() < deadline:
            if await answers(client, "/healthz"):
                return True
            await asyncio.sleep(0.05)
    return False


async def answers(client: httpx2.AsyncClient, path: str) -> bool:
    """Returns True if a path is answered with success; False while nobody listens, too."""
    try:
        return (await client.get(path)).is_success
    except httpx2.TransportError:
        return False
