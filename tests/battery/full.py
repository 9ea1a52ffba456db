"""A disk that is full, whatever the store: refused, not lost, and taken again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime

from receiver.config import StoreAddress
from receiver.logs.requests import REFUSALS_BURST, REFUSALS_RATE
from tests.battery.load import Ledger, run
from tests.harness import Client, Running, inbound, until_async

#: A text that fills a disk: with its envelope it stays below `server.max_body`.
TEXT = "x" * 8000
REFUSALS = 100
#: Seconds within which pushes are taken again, and how many must be in a row.
BACK_WITHIN = 60.0
BACK = 20
CLIENTS = 8


async def fill(service: Running, ledger: Ledger) -> None:
    """Pushes large texts until enough of them are refused."""

    async def client() -> None:
        connection = Client(service.port)
        while len(ledger.others) < REFUSALS:
            id_ = f"id-{len(ledger.sent)}"
            ledger.sent.append(id_)
            ledger.note(id_, await connection.post(inbound(id_, TEXT)))
        connection.close()

    async with asyncio.timeout(120):
        await asyncio.gather(*[client() for _ in range(CLIENTS)])


async def recover(service: Running, ledger: Ledger) -> None:
    """Returns when enough pushes in a row are taken again."""
    connection = Client(service.port)
    row = 0

    async def taken() -> bool:
        nonlocal row
        id_ = f"back-{time.monotonic_ns()}"
        reply = await connection.post(inbound(id_, TEXT))
        if reply.status == 200:
            ledger.note(id_, reply)
        row = row + 1 if reply.status == 200 else 0
        return row >= BACK

    await until_async(taken, "taken again", BACK_WITHIN)
    connection.close()


def full(
    service: Running, make_room: Callable[[], object], store: StoreAddress | None = None
) -> None:
    """Fills the disk of a service, makes room, and looks at what it did meanwhile."""
    ledger = Ledger()
    run(fill(service, ledger))
    assert ledger.acked
    assert set(ledger.statuses) == {200, 503}
    for reply in ledger.others:
        assert int(reply.headers["retry-after"]) > 0
        assert reply.json["result_desc"] == "FAILED"
    assert service.get("/healthz").status == 200
    known = next(iter(ledger.acked))
    assert service.post(inbound(known, TEXT)).status in (200, 503)
    make_room()
    run(recover(service, ledger))
    for id_ in list(ledger.acked)[:5]:
        assert service.post(inbound(id_, TEXT)).body == ledger.acked[id_]
    assert ledger.missing(store or service.store) == []
    lines = [json.loads(line) for line in service.log.splitlines()]
    refused = [line for line in lines if line.get("outcome") == "store_unavailable"]
    others = [line for line in lines if line["event"] != "push" and line not in refused]
    assert len(others) < 30, "the log fills the disk further"
    times = [datetime.fromisoformat(line["timestamp"]) for line in refused]
    rationed = REFUSALS_BURST + REFUSALS_RATE * (max(times) - min(times)).total_seconds() + 1
    assert len([line for line in refused if line["event"] == "push"]) <= rationed
