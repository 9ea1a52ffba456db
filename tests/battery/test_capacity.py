"""More than the service can take: refused at once, in bounded memory, nothing acknowledged lost."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from tests.battery import broken
from tests.battery.load import Ledger, run
from tests.harness import PATIENCE, Client, Running, inbound, serve, settings

#: Many more than a slow disk (`broken.slow_disk`) can take.
CLIENTS = 250
#: Seconds until a client that was refused comes again: less than it was told.
AGAIN = 0.2
#: Seconds which no answer takes.
NEVER_LONGER = 10.0
#: Bodies of strangers a second, and how large they are.
STRANGERS = 300
BODY = 64_000
MEMORY = 256 * 1024 * 1024


class Overload:
    """Clients beyond capacity, and strangers beside them, for some seconds."""

    def __init__(self, service: Running, seconds: float) -> None:
        self.service = service
        self.ledger = Ledger()
        self.refused: list[float] = []
        self.taken: list[float] = []
        self.longest = 0.0
        self.strangers = 0
        self.memory = 0
        self._until = time.monotonic() + seconds

    async def run(self) -> None:
        """Everything at the same time."""
        async with asyncio.timeout(PATIENCE * 4):
            await asyncio.gather(
                self._watch(),
                *[self._client(n) for n in range(CLIENTS)],
                *[self._stranger() for _ in range(STRANGERS // 10)],
            )

    @property
    def _going(self) -> bool:
        return time.monotonic() < self._until

    async def _client(self, number: int) -> None:
        connection = Client(self.service.port)
        n = 0
        while self._going:
            n += 1
            id_ = f"{number}-{n}"
            started = time.monotonic()
            reply = await connection.post(inbound(id_, "GAME"))
            took = time.monotonic() - started
            self.longest = max(self.longest, took)
            self.ledger.note(id_, reply)
            if reply.status == 200:
                self.taken.append(took)
            else:
                self.refused.append(took)
                await asyncio.sleep(AGAIN)
        connection.close()

    async def _stranger(self) -> None:
        """Ten bodies a second."""
        connection = Client(self.service.port)
        body = inbound("stranger", "x" * (BODY - 400), api_token="guess")
        while self._going:
            reply = await connection.post(body)
            assert reply.status == 401
            self.strangers += 1
            await asyncio.sleep(0.1)
        connection.close()

    async def _watch(self) -> None:
        while self._going:
            self.memory = max(self.memory, self.service.resident())
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seconds", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_beyond_capacity_pushes_are_refused_at_once(tmp_path: Path, seconds: int) -> None:
    """503 with Retry-After, quickly; what was acknowledged is there; memory stays bounded."""
    program = broken.program("slow_disk")
    with serve(tmp_path, settings(), program=program) as service:
        load = Overload(service, seconds)
        run(load.run())
        assert load.ledger.missing(service.store) == []
        assert service.post(inbound("after", "GAME")).status == 200
    assert set(load.ledger.statuses) == {200, 503}
    assert all(int(reply.headers["retry-after"]) > 0 for reply in load.ledger.others)
    assert all(reply.json["result_desc"] == "FAILED" for reply in load.ledger.others)
    # Who is refused waits for no commit, who is taken does; for the machine all wait alike.
    waited = statistics.median(load.taken) - statistics.median(load.refused)
    assert waited >= broken.SLOW_COMMIT / 2
    assert load.longest <= NEVER_LONGER
    assert load.strangers > seconds * STRANGERS / 20, "too few: the case proves nothing"
    assert load.memory <= MEMORY
