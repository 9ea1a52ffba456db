"""Load on a running service, and a ledger of what it acknowledged."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import uvloop

from receiver.config import StoreAddress
from tests import stored
from tests.harness import Client, Reply, inbound

#: Clients at the same time, unless a case says otherwise.
CLIENTS = 16
_REPEATS = 0.2
_HANG_UPS = 0.1
#: Seconds between a request and hanging up, at most.
_HANG_UP_AFTER = 0.005


class Ledger:
    """What clients have sent, and what they were answered."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        #: By the provider's id: the body of a 200 that was read whole.
        self.acked: dict[str, bytes] = {}
        self.statuses: Counter[int] = Counter()
        #: Ids that were answered with different bytes.
        self.different: list[str] = []
        #: Answers that are no 200.
        self.others: list[Reply] = []
        self.answered = asyncio.Event()

    async def another(self) -> None:
        """Returns when another event is acknowledged. Each loop may wait for that."""
        self.answered = asyncio.Event()
        await self.answered.wait()

    def note(self, id_: str, reply: Reply) -> None:
        """Enters an answer."""
        self.statuses[reply.status] += 1
        if reply.status != 200:
            self.others.append(reply)
            return
        self.answered.set()
        if self.acked.setdefault(id_, reply.body) != reply.body:
            self.different.append(id_)

    def missing(self, store: StoreAddress) -> list[str]:
        """Acknowledged ids that are not stored."""
        keys = set(stored.keys(store))
        return [id_ for id_ in self.acked if f"message:{id_}" not in keys]


def stored_twice(store: StoreAddress) -> list[Any]:
    """Keys of events that are there more than once."""
    keys = Counter((each.event.source, each.key) for each in stored.events(store))
    return [key for key, count in keys.items() if count > 1]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs the clients, on a loop as fast as the service's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


async def clients(
    port: int,
    ledger: Ledger,
    *,
    name: str = "",
    many: int = CLIENTS,
    hang_ups: float = _HANG_UPS,
    text: str = "GAME",
) -> None:
    """Clients that push without pause until they are cancelled; `name` begins all new ids."""
    chance = random.Random(name)

    async def client() -> None:
        connection = Client(port)
        try:
            while True:
                if ledger.sent and chance.random() < _REPEATS:
                    id_ = chance.choice(ledger.sent)
                else:
                    id_ = f"{name}{len(ledger.sent)}"
                    ledger.sent.append(id_)
                body = push_of(id_, text)
                try:
                    if chance.random() < hang_ups:
                        await connection.begin(body)
                        await asyncio.sleep(chance.uniform(0, _HANG_UP_AFTER))
                        connection.close()
                    else:
                        ledger.note(id_, await connection.post(body))
                except (OSError, EOFError):
                    connection.close()
                    await asyncio.sleep(0.01)
        finally:
            connection.close()

    await asyncio.gather(*[client() for _ in range(many)])


def push_of(id_: str, text: str = "GAME") -> bytes:
    """What the clients push under an id: always of the same person."""
    return inbound(id_, text, mobile=f"2547110000{sum(id_.encode()) % 50:02}")


def message(answer: bytes) -> str:
    """The text for the person in an answer of Tilil."""
    return str(json.loads(answer)["result_message"])


async def post_at_once(ports: Sequence[int], body: bytes, many: int) -> list[Reply]:
    """The answers to one body on many connections to these ports, sent when all of them stand."""
    connections = [Client(ports[number % len(ports)]) for number in range(many)]
    standing = asyncio.Barrier(many)

    async def client(connection: Client) -> Reply:
        await connection.connect()
        await standing.wait()
        reply = await connection.post(body)
        connection.close()
        return reply

    async with asyncio.timeout(60):
        return await asyncio.gather(*map(client, connections))
