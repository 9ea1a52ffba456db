"""People who write to us, through a gateway that pushes to any receiver until one acknowledges.

A push that has no answer, or one that says no, comes again, to whichever receiver; some come again
though they were acknowledged. A person writes the next message when the last one is acknowledged,
so that the order in which handlers see them can be judged.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from receiver.config import StoreAddress
from receiver.fake import Fake
from tests import stored
from tests.battery.load import Ledger, message, stored_twice
from tests.harness import PATIENCE, Client, Reply, inbound, until, with_plugin

#: Replies late to two of three messages, so that these leave by the gateway's API.
HANDLER = """
import asyncio
from pathlib import Path
from receiver.handlers import on_message

@on_message(keyword="ASK")
async def ask(event, context):
    id_ = event.data.external_id
    with Path({runs!r}).open("a") as file:
        file.write(f"{{event.data.from_}} {{id_}}\\n")
    await asyncio.sleep(0 if id_.endswith(("0", "3", "6")) else 0.2)
    return f"reply to {{id_}}"
"""
#: What people write, one after the other, again and again.
TEXTS = ("ASK", "GAME", "ASK", "ASK")
_STOP_AT = 4
#: Of so many people one says STOP.
_ONE_STOPS = 5
#: The share of pushes that come again, though they were acknowledged, to two receivers at once.
_REPEATS = 0.1
#: Seconds that a gateway waits for an answer.
_LONGEST = 15.0
#: Seconds until a push comes again, and between two messages of a person.
_AGAIN = 0.1
_PAUSE = 0.05


class Verdict(msgspec.Struct, kw_only=True):
    """What is wrong in the end."""

    missing: list[str] = []
    """Acknowledged, and not stored."""
    twice: list[Any] = []
    """Stored twice."""
    different: list[str] = []
    """Answered with different bytes."""
    replied_twice: list[str] = []
    """Two replies to one message."""
    silent: list[str] = []
    """Acknowledged, asks for a reply, and there is none, sent or known to have failed.

    Of people who say STOP none is expected: they may have said it before the handler ran.
    """
    stopped: list[str] = []
    """Replies to what people wrote after their STOP was acknowledged."""
    disorder: list[str] = []
    """Handlers saw a person's messages in another order."""
    statuses: list[int] = []
    """Answers that are neither 200 nor 503."""


class Traffic:
    """What people have written, and what became of it."""

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        *,
        people: int = 12,
        texts: Sequence[str] = TEXTS,
    ) -> None:
        self.ledger = Ledger()
        self.ports = list(ports)
        self.longest = 0.0
        """Seconds from an acknowledged push to the next one, of all people, at most."""
        self._last = time.monotonic()
        self._runs = runs_of(folder)
        self._asked: list[str] = []
        self._after_stop: set[str] = set()
        self._numbers = [f"2547{number:08}" for number in range(1000, 1000 + people)]
        self._texts = texts
        self._chance = random.Random(people)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """People write while the block runs; in the end all that they wrote is acknowledged."""
        done = asyncio.Event()
        self._last = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in self._numbers:
                group.create_task(self._person(number, done))
            yield
            done.set()

    async def more(self, count: int = 20, seconds: float = PATIENCE * 1.5) -> None:
        """Returns when so many more pushes are acknowledged."""
        enough = len(self.ledger.acked) + count
        await asyncio.to_thread(
            until, lambda: len(self.ledger.acked) >= enough, "pushes are acknowledged", seconds
        )

    async def _person(self, number: str, done: asyncio.Event) -> None:
        stops = "ASK" in self._texts and _stops(number)
        k = sum(id_.startswith(number) for id_ in self.ledger.acked)
        while not done.is_set():
            id_ = f"{number}-{k}"
            text = "STOP" if stops and k == _STOP_AT else self._texts[k % len(self._texts)]
            if stops and k > _STOP_AT:
                self._after_stop.add(id_)
            body = inbound(id_, f"{text} {k}" if text == "ASK" else text, mobile=number)
            await self._push(id_, body)
            if text == "ASK":
                self._asked.append(id_)
            if self._chance.random() < _REPEATS:
                await asyncio.gather(self._push(id_, body), self._push(id_, body))
            await asyncio.sleep(_PAUSE)
            k += 1

    async def _push(self, id_: str, body: bytes) -> None:
        self.ledger.sent.append(id_)
        while (reply := await self._post(body)) is None or reply.status == 503:
            if reply is not None:
                self.ledger.note(id_, reply)
            await asyncio.sleep(_AGAIN)
        self.ledger.note(id_, reply)
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now

    async def _post(self, body: bytes) -> Reply | None:
        client = Client(self._chance.choice(self.ports))
        try:
            async with asyncio.timeout(_LONGEST):
                return await client.post(body)
        except (OSError, EOFError):  # a time-out is one, too
            return None
        finally:
            client.close()

    def judge(self, store: StoreAddress, fake: Fake | None = None) -> Verdict:
        """Holds what was acknowledged against the store and what the gateway was given to send."""
        until(lambda: not stored.undecided(store), "all is decided", 120)
        messages = stored.messages(store)
        in_answers = Counter(
            text
            for answer in self.ledger.acked.values()
            if (text := message(answer)).startswith("reply to ")
        )
        sent = Counter(each.text for each in (fake.sent if fake else messages))
        replies = in_answers + Counter(
            {text: count for text, count in sent.items() if text.startswith("reply to ")}
        )
        known = {each.text for each in messages} | replies.keys()
        return Verdict(
            missing=self.ledger.missing(store),
            twice=stored_twice(store),
            different=self.ledger.different,
            replied_twice=[text for text, count in replies.items() if count > 1],
            silent=[
                id_ for id_ in self._asked if f"reply to {id_}" not in known and not _stops(id_)
            ],
            stopped=[id_ for id_ in self._after_stop if f"reply to {id_}" in replies],
            disorder=self._disorder(),
            statuses=[status for status in self.ledger.statuses if status not in (200, 503)],
        )

    def _disorder(self) -> list[str]:
        """Messages that a handler saw after a later one of the same person."""
        latest: dict[str, int] = {}
        wrong = []
        for line in self._runs.read_text("utf-8").splitlines():
            person, id_ = line.split()
            number = int(id_.rpartition("-")[2])
            if number < latest.setdefault(person, number):
                wrong.append(id_)
            latest[person] = number
        return wrong


def _stops(id_: str) -> bool:
    """The person says STOP once."""
    return not int(id_.partition("-")[0]) % _ONE_STOPS


def runs_of(folder: Path) -> Path:
    """Where the handlers of all receivers note each run."""
    return folder / "runs"


def configuration(folder: Path, fake: Fake | None = None) -> dict[str, Any]:
    """Of receivers whose handlers note their runs in `folder`; `fake` is their gateway."""
    runs_of(folder).touch()
    handler = HANDLER.format(runs=str(runs_of(folder)))
    # The loop guard would fall silent: these people write more than any person does.
    raw = with_plugin(handler, "opt_out", "keyword_reply", loop_guard={"enabled": False})
    raw["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "Welcome"}]}
    raw["sources"]["tilil"]["reply_within"] = 0.1
    if fake is not None:
        raw["sources"]["tilil"]["send"] = {
            "api_key": "key", "timeout": 2.0, "url": f"{fake.url}/tilil",
        }  # fmt: skip
    return raw
