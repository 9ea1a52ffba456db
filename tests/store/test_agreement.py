"""The book, the opt-outs and the provider's list agree, however what happens comes to be known."""

from __future__ import annotations

import heapq
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from receiver.actions import Action, OptIn, OptOut, Subscribe, Unsubscribe
from receiver.store import (
    Correction,
    HandlerActions,
    Store,
    StoredPush,
    Subscribed,
    from_micros,
    to_micros,
)
from receiver.store import book as rules
from receiver.store.deactivations import manage
from receiver.store.ids import EventIds
from receiver.store.job_reads import due
from receiver.store.pushes import take
from tests.examples import examples
from tests.harness import NOW
from tests.store.rows import PERSON, in_memory, intake

#: What happens, ten seconds after each other, and how much later the provider's pushes of it come.
happenings = st.sampled_from(
    ["join", "leave", "LEAVE", "STOP", "START", "NEWS", "STOP NEWS", "perform", "list", "commit"]
)
steps = st.lists(st.tuples(happenings, st.integers(0, 90)), max_size=14)

MANAGED: dict[str, Any] = {"msisdn": PERSON, "short_code": "22915", "service_id": "44"}
OWN: dict[str, Any] = {"msisdn": PERSON, "short_code": "22915"}
WORDS: dict[str, Action] = {
    "STOP": OptOut(PERSON, "STOP"),
    "START": OptIn(PERSON, "START"),
    "LEAVE": Unsubscribe(**MANAGED, at_provider=True),
    "NEWS": Subscribe(**OWN),
    "STOP NEWS": Unsubscribe(**OWN),
}


class World:
    """A person, a provider that keeps a list, and a store that is told of both."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.now = 0
        self.listed = [(0, False)]
        """Since when the provider has the person in its list, or not."""
        self.last_word = False
        """Whether the person's last word about the list of our own was to join it."""
        self._pushes: list[tuple[int, int, int, bool]] = []
        """That are to arrive: when, a number, the provider's time, whether the person joined."""
        self._numbers = count()
        self._store = cast("Store", SimpleNamespace(ids=EventIds(0)))
        self._waiting: list[StoredPush] = []
        """For the next commit."""

    def step(self, what: str, late: int) -> None:
        """Something happens, after what has arrived by then."""
        self.now += 10
        self._arrive()
        if what in WORDS:
            self._put(next(self._numbers), self.now, WORDS[what], None)
            if what in ("NEWS", "STOP NEWS", "STOP"):
                self.last_word = what == "NEWS"
        elif what in ("join", "leave"):
            self._change(late, joined=what == "join")
        elif what == "perform":
            self.perform(late)
        elif what == "list":
            self.correct(late)
        elif what == "commit":
            self.commit()

    def finish(self) -> None:
        """All that is under way arrives, and all that waits is done."""
        while self._pushes or self._waiting or self._due():
            self.now += 100
            self._arrive()
            self.perform(0)

    def perform(self, late: int) -> None:
        """The provider is told what waits."""
        self.commit()
        for id_, _, _, payload, *_, joined_again in self._due():
            self.db.execute("DELETE FROM jobs WHERE id = ?", (id_,))
            ended = msgspec.json.decode(payload, type=Subscribed)
            assert msgspec.structs.asdict(ended) == MANAGED
            if not joined_again:
                self._change(late, joined=False)

    def correct(self, age: int) -> None:
        """The provider's list, made a while ago, is written into the book where they differ."""
        self.commit()
        then = max(0, self.now - age)
        active = [listed for since, listed in self.listed if since <= then][-1]
        if (self.book("44")[0] == "active") is not active:
            correction = Correction(**MANAGED, source="tilil", active=active)
            time, now = from_micros(_micros(then)), from_micros(_micros(self.now))
            rules.correct(self.db, [correction], time=time, now=now, reason="reconcile")

    def commit(self) -> None:
        """What has arrived is stored together."""
        take(self.db, self._waiting)
        self._waiting = []

    def book(self, service_id: str) -> tuple[str | None, int]:
        """The state of a line, and since when."""
        query = "SELECT state, since FROM subscriptions WHERE service_id = ?"
        return self.db.execute(query, (service_id,)).fetchone() or (None, 0)

    def _due(self) -> list[Any]:
        return self.db.execute(
            due("deactivate"), ("deactivate", "tilil", _micros(self.now), 100)
        ).fetchall()

    def _change(self, late: int, *, joined: bool) -> None:
        """The provider's list changes; the push that tells it comes later, and then again."""
        if self.listed[-1][1] is joined:
            return
        self.listed.append((self.now, joined))
        number = next(self._numbers)
        for again in (0, 15):
            heapq.heappush(self._pushes, (self.now + late + again, number, self.now, joined))

    def _arrive(self) -> None:
        while self._pushes and self._pushes[0][0] <= self.now:
            _, number, time, joined = heapq.heappop(self._pushes)
            wanted = Subscribe(**MANAGED) if joined else Unsubscribe(**MANAGED)
            self._put(number, time, wanted, joined)

    def _put(self, number: int, time: int, action: Action, joined: bool | None) -> None:
        record = intake(
            self._store,
            number,
            time=_moment(time),
            received_at=_moment(self.now),
            joined=joined,
            handler_actions=[HandlerActions(handler="mine.rule", actions=(action,))],
        )
        self._waiting.append(record)


def _moment(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def _micros(seconds: int) -> int:
    return to_micros(_moment(seconds))


@given(steps)
@examples(300)
def test_book_opt_outs_and_the_list_agree(made: list[tuple[str, int]]) -> None:
    """In one commit or several, late, twice, corrected: who opted out is subscribed nowhere."""
    with closing(in_memory()) as db:
        manage(db, ["tilil"])
        world = World(db)
        for what, late in made:
            world.step(what, late)
            never_active_before_an_opt_out(db)
        world.finish()
        never_active_before_an_opt_out(db)
        assert (world.book("44")[0] == "active") is world.listed[-1][1]
        assert (world.book("")[0] == "active") is world.last_word


def never_active_before_an_opt_out(db: sqlite3.Connection) -> None:
    """No line is active that became so before the person opted out."""
    query = (
        "SELECT * FROM subscriptions AS s JOIN opt_out_history AS o USING (msisdn)"
        " WHERE s.state = 'active' AND o.change = 'out' AND s.since <= o.time"
    )
    assert db.execute(query).fetchall() == []
