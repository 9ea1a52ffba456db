"""Load on a running service, and a ledger of what it acknowledged."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.harness import Client, Reply, inbound, look

#: Clients at the same time, unless a case says otherwise.
CLIENTS = 16
_REPEATS = 0.2
_HANG_UPS = 0.1
#: Seconds between a request and hanging up, at most.
_HANG_UP_AFTER = 0.005


class Ledger(msgspec.Struct):
    """What clients have sent, and what they were answered."""

    sent: list[str] = []
    acked: dict[str, bytes] = {}
    """By the provider's id: the body of a 200 that was read whole."""
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    different: list[str] = []
    """Ids that were answered with different bytes."""
    others: list[Reply] = []
    """Answers that are no 200."""
    broken: int = 0
    """Connections that ended before the answer."""

    def note(self, id_: str, reply: Reply) -> None:
        """Enters an answer."""
        self.statuses[reply.status] += 1
        if reply.status != 200:
            self.others.append(reply)
        elif self.acked.setdefault(id_, reply.body) != reply.body:
            self.different.append(id_)

    def missing(self, store: Path) -> list[str]:
        """Acknowledged ids that are not stored."""
        stored = Counter(key for (key,) in look(store, "SELECT key FROM events"))
        return [id_ for id_ in self.acked if f"message:{id_}" not in stored]


def stored_twice(store: Path) -> list[Any]:
    """Keys of events that are there more than once."""
    return look(store, "SELECT key FROM events GROUP BY source, key HAVING count(*) > 1")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs the clients, on a loop as fast as the service's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


async def clients(
    port: int,
    ledger: Ledger,
    go_on: Callable[[], bool],
    *,
    name: str = "",
    many: int = CLIENTS,
    hang_ups: float = _HANG_UPS,
    text: str = "GAME",
    seed: int = 1,
) -> None:
    """Clients that push without pause, as long as `go_on` says so; `name` begins all new ids."""
    chance = random.Random(seed)

    async def client() -> None:
        connection = Client(port)
        while go_on():
            if ledger.sent and chance.random() < _REPEATS:
                id_ = chance.choice(ledger.sent)
            else:
                id_ = f"{name}{len(ledger.sent)}"
                ledger.sent.append(id_)
            body = inbound(id_, text, mobile=f"2547{len(id_):02}{len(ledger.sent) % 50:06}")
            try:
                if chance.random() < hang_ups:
                    await connection.begin(body)
                    await asyncio.sleep(chance.uniform(0, _HANG_UP_AFTER))
                    connection.close()
                else:
                    ledger.note(id_, await connection.post(body))
            except (OSError, EOFError):
                connection.close()
                ledger.broken += 1
                await asyncio.sleep(0.01)
        connection.close()

    await asyncio.gather(*[client() for _ in range(many)])


def message(answer: bytes) -> str:
    """The text for the person in an answer of Tilil."""
    return str(json.loads(answer)["result_message"])
