"""A town whose gateway, service and people must agree: what the state machine plays with.

The gateway is a fake Tilil that keeps a list of subscribers of its own. It tells the service of
each change in a push, which may come late, twice, or in another order; the service tells it to end
subscriptions. People write; what they get, in an answer or as a message, is kept.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from receiver.fake import Fake, Options, running
from receiver.jobs.channel import Line
from receiver.service import replay_compare
from receiver.service.commands import CorrectBook, Replay
from receiver.service.execute import carry_out
from receiver.service.parts import Service
from receiver.store import Correction
from receiver.store.engine.sqlite.backup import back_up
from tests import stored
from tests.harness import (
    Clock,
    inbound,
    opened,
    subscription,
    take,
    until_async,
    with_plugin,
)

T = TypeVar("T")

CODE, SERVICE = "22915", "44"
PEOPLE = ("254708400011", "254708400012", "254708400013")
_NAIROBI = ZoneInfo("Africa/Nairobi")
#: Seconds between two things that happen: more than the loop guard minds.
_STEP = 40.0

#: Answers in the background, and fails the first time that it sees an event.
HANDLER = """
from receiver.handlers import on_message

seen = set()

@on_message(keyword="LATER")
async def later(event, context):
    if event.id not in seen:
        seen.add(event.id)
        raise RuntimeError("not yet")
    return f"later {event.data.from_} {event.data.external_id}"

@on_message(keyword="NOW", inline=True)
def now(event, context):
    return f"now {event.data.from_} {event.data.external_id}"
"""


class Town:
    """The service, its gateway and its people."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.fake: Fake
        self.service: Service
        self.members: set[str] = set()
        """Whom the gateway takes for subscribers."""
        self.pushes: list[bytes] = []
        """Of the gateway, on their way."""
        self.answers: dict[bytes, bytes] = {}
        """By the push that was answered so."""
        self.replies: defaultdict[bytes, list[str]] = defaultdict(list)
        """What the answers said to people, by the push."""
        self.lists: list[tuple[datetime, set[str]]] = []
        """Lists of the gateway, and when they were made."""
        self._folder = folder
        self._lives = 0
        self._told = 0
        self._outside = AsyncExitStack()
        self._inside = AsyncExitStack()
        self._numbers = iter(range(1, 1_000_000))

    # Life and death

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it in the town's event loop, where everything else goes on meanwhile."""
        return self.runner.run(work)

    async def begin(self) -> None:
        """Opens the gateway and the service."""
        options = Options(seed=1, retry_after=1, hang=0.2)
        self.fake = await self._outside.enter_async_context(running(options))
        await self._open()

    async def end(self) -> None:
        """Closes both."""
        await self._inside.aclose()
        await self._outside.aclose()

    async def restart(self) -> None:
        """Stops the service as a person does, and starts it again."""
        await self._inside.aclose()
        await self._open()

    async def crash(self) -> None:
        """Goes on from the last commit, as after kill -9."""
        before = self._life()
        self._lives += 1
        self._life().mkdir()
        # All in one turn of the event loop: no request can leave between the copy and the end.
        back_up(before / "receiver.db", self.store)
        self.fake.set_faults({"500": 1.0})  # whatever the old process begins now reaches nobody
        await self._inside.aclose()
        self.fake.set_faults({})
        shutil.rmtree(before)
        await self._open()

    async def _open(self) -> None:
        raw = with_plugin(HANDLER, "opt_out", "subscriptions")
        raw["plugins"]["subscriptions"] = {
            "services": [
                {"name": "Game", "short_code": CODE, "service_id": SERVICE}
                | {"join": ["JOIN GAME"], "leave": ["LEAVE GAME"]},
                {
                    "name": "News",
                    "short_code": CODE,
                    "join": ["JOIN NEWS"],
                    "leave": ["LEAVE NEWS"],
                },
            ]
        }
        send = {"api_key": "key", "url": f"{self.fake.url}/tilil", "timeout": 2.0}
        raw["sources"] = {"tilil": {**raw["sources"]["tilil"], "send": send, "reply_within": 0.01}}
        self.service = await self._inside.enter_async_context(opened(self._life(), raw, self.clock))

    def _life(self) -> Path:
        return self._folder / f"life-{self._lives}"

    # What happens

    def new_id(self) -> str:
        """An id that no message had."""
        return str(next(self._numbers))

    def message(self, person: str, text: str, id_: str | None = None) -> bytes:
        """A push of a message; its text and its id are said in the reply."""
        id_ = id_ or self.new_id()
        stamp = self._stamp(self.clock.now)
        return inbound(
            id_, text, mobile=person, timestamp=stamp, shortcode=CODE, service_id=SERVICE
        )

    async def join(self, person: str, *, leaves: bool = False) -> None:
        """Somebody joins or leaves at the gateway, which will say so."""

        async def quiet() -> bool:
            return all(line.room == line.settings.connections for line in self._lines())

        await until_async(quiet, "what has reached the gateway is done there")
        self.settle_list()
        self.clock.move(seconds=_STEP)
        (self.members.discard if leaves else self.members.add)(person)
        update = "deactivation" if leaves else "activation"
        stamp = self._stamp(self.clock.now)
        self.pushes.append(subscription(update, stamp, mobile=person, shortcode=CODE))

    async def deliver(self, *bodies: bytes) -> None:
        """Pushes, all of one commit; keeps their answers."""
        self.clock.move(seconds=_STEP)
        answers = await asyncio.gather(*[take(self.service, body) for body in bodies])
        for body, answer in zip(bodies, answers, strict=True):
            first = self.answers.setdefault(body, answer.body)
            assert answer.body == first, "a repeat is answered with the same bytes"
            said = json.loads(answer.body)["result_message"]
            self.replies[body] = [said] if said else []

    async def replay(self, seq: int) -> None:
        """Has an event replayed, as `receiver replay --apply` does."""
        parts = self.service.parts
        replayed = await self.service.store.reader.event_by_seq(seq)
        assert replayed is not None
        with parts.people.before(seq):
            plan = parts.dispatcher.plan(replayed.event)
        await carry_out(
            self.service, Replay(events=[(seq, replay_compare.digest(plan))]), "the test"
        )

    async def reconcile(self, made: datetime, listed: set[str]) -> None:
        """Corrects the book by a list of the gateway, as `subscribers reconcile --apply` does."""
        book = self.book()
        corrections = [
            Correction(
                msisdn=f"+{person}",
                source="tilil",
                short_code=CODE,
                service_id=SERVICE,
                active=person in listed,
            )
            for person in PEOPLE
            if (person in listed) != (person in book)
        ]
        if corrections:
            await carry_out(
                self.service, CorrectBook(corrections=corrections, time=made), "the test"
            )

    def settle_list(self) -> None:
        """Does in the gateway's list what the service has told it to do."""
        for told in self.fake.managed[self._told :]:
            (self.members.discard if told.option == "deactivation" else self.members.add)(told.to)
        self._told = len(self.fake.managed)

    async def rest(self) -> None:
        """Returns when nothing is left to do: faults have ended, and time has passed."""
        self.fake.set_faults({})
        for _ in range(400):
            for line in self._lines():
                line.gate.circuit.succeeded()
            if not stored.undecided(self.store):
                self.settle_list()
                return
            self.clock.move(minutes=5)
            await asyncio.sleep(0.02)
        raise AssertionError(f"still undecided: {stored.undecided(self.store)}")

    def _lines(self) -> list[Line]:
        sending = self.service.sending
        return [] if sending is None else list(sending.lines.values())

    # What is so

    @property
    def store(self) -> Path:
        """The store of the present life."""
        return self._life() / "receiver.db"

    def book(self) -> set[str]:
        """Whom the service takes for subscribers."""
        lines = stored.subscriptions(
            self.store, source="tilil", short_code=CODE, service_id=SERVICE, state="active"
        )
        return {line.msisdn.lstrip("+") for line in lines}

    def sent(self) -> Counter[tuple[str, str]]:
        """The messages that people got from the gateway, by person and text."""
        return Counter((message.to.lstrip("+"), message.text) for message in self.fake.sent)

    @staticmethod
    def _stamp(moment: datetime) -> str:
        return f"{moment.astimezone(_NAIROBI):%Y%m%d%H%M%S}"
