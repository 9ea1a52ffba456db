"""A store with something of everything in it, to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.errors import PushError
from receiver.store import Job
from tests.harness import (
    TOKEN,
    Running,
    delivery,
    inbound,
    opened,
    serve,
    subscription,
    take,
    until_async,
    with_plugin,
)
from tests.store.rows import fail

#: A text that would colour a terminal, forge a line and turn what follows around.
NASTY = "\x1b[31mred\r\n2026 forged \u202eover\u2028[bold]x[/bold]\x9b\x7f {{ 7*7 }}"
FORMULA = "=cmd|' /C calc'!A0"
_PLUGIN = """
from receiver.handlers import on_message

@on_message(keyword="LATER")
def mine(event, context):
    raise RuntimeError("it does not work")
"""


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a store: nobody may change it."""
    folder = tmp_path_factory.mktemp("filled")
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Path) -> None:
    raw = with_plugin(_PLUGIN, "opt_out", "subscriptions")
    async with opened(folder, raw) as service:
        await take(service, inbound(1, "Game one"))
        await take(service, inbound(2, NASTY, mobile="254711000222"))
        await take(service, inbound(3, "STOP", mobile="254733000333"))
        report = delivery("m-1", 1, dlrDesc="DeliveredToTerminal")
        headers = [(b"x-trace", b"a"), (b"host", b"sms"), (b"x-trace", b"b\x1b")]
        await take(service, report, token=TOKEN, query=b"a=%1b", headers=headers)
        odd = {"keyword": FORMULA, "subscriber_ref": "+1+1", "network_name": "\tnet"}
        await take(service, subscription("activation", "20200528124756", **odd))
        left = {"mobile": "254708411111", "keyword": "GAME", "service_id": None}
        await take(service, subscription("activation", "20200528124756", **left))
        await take(service, subscription("deactivation", "20200601080000", **left))
        for body, credentials in (
            (b'{"mobile": "2547', {"token": TOKEN}),
            (b'{"mobile": "\xff", "api_token": "guess"}', {}),
        ):
            with pytest.raises(PushError):
                await take(service, body, **credentials)
        await take(service, inbound(4, "later"))

        async def tried() -> list[Job]:
            return [job for job in await service.store.reader.jobs() if job.attempts]

        [job] = await until_async(tried, "tried once")
        await fail(service.store, job.id, None, "it does not work")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    """`receiver serve`, ready, on a free port."""
    with serve(tmp_path) as running:
        yield running
