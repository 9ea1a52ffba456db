"""Whatever happens in whatever order: people get one answer, and STOP is STOP everywhere.

A state machine plays with a town (`agreement`): people write, join and leave, the gateway's pushes
are late, repeated or out of order, it fails, the service is restarted or dies, somebody reconciles
the book or replays an event. When all has come to rest, what the people got, the book, the opt-outs
and the gateway's own list are held against each other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import stored
from tests.battery.agreement import PEOPLE, Town

#: Minutes that the slow one plays.
MINUTES = float(os.environ.get("AGREEMENT_MINUTES", "10"))
#: What people write; the first two are answered, at once and later.
WORDS = ("NOW", "LATER", "STOP", "START", "JOIN GAME", "LEAVE GAME", "JOIN NEWS", "LEAVE NEWS")

people = st.sampled_from(PEOPLE)
words = st.sampled_from(WORDS)
some = st.integers(0, 1_000_000)


class Agreement(RuleBasedStateMachine):
    """What can happen in the town."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="agreement-"))
        self.town = Town(self.folder)
        self.opted_out: set[str] = set()
        self.asked: dict[bytes, tuple[str, str]] = {}
        """Messages that want a reply: who wrote, and the text of the reply."""
        self.owed: set[bytes] = set()
        """Those of people who have not opted out since."""
        self.barred: set[bytes] = set()
        """Those of people who had opted out, and have not opted in since."""
        self.pushed: list[bytes] = []
        self.known: set[tuple[str, str, str]] = set()
        """Messages by id, person and text: what has all three of one is its repeat."""

    @initialize()
    def begin(self) -> None:
        """The service starts with an empty store."""
        self.town.run(self.town.begin())

    def teardown(self) -> None:
        """Everything comes to rest, and agrees."""
        try:
            if hasattr(self.town, "service"):
                self.comes_to_rest()
        finally:
            self.town.run(self.town.end())
            self.town.runner.close()
            shutil.rmtree(self.folder)

    # People

    @rule(person=people, word=words)
    def writes(self, person: str, word: str) -> None:
        """Somebody writes."""
        self._deliver([(person, word, None)])

    @rule(written=st.lists(st.tuples(people, words), min_size=2, max_size=4))
    def write_together(self, written: list[tuple[str, str]]) -> None:
        """Several messages come in one commit."""
        self._deliver([(person, word, None) for person, word in written])

    @precondition(lambda self: self.pushed)
    @rule(which=some)
    def comes_again(self, which: int) -> None:
        """A push is repeated, byte for byte."""
        self.town.run(self.town.deliver(self.pushed[which % len(self.pushed)]))

    @precondition(lambda self: self.asked)
    @rule(which=some, person=people, word=words)
    def comes_with_an_old_id(self, which: int, person: str, word: str) -> None:
        """The gateway gives a message the id of an older one."""
        _, said = list(self.asked.values())[which % len(self.asked)]
        self._deliver([(person, word, said.rpartition(" ")[2])])

    # The gateway

    @rule(person=people, leaves=st.booleans())
    def joins_there(self, person: str, *, leaves: bool) -> None:
        """Somebody joins or leaves at the gateway."""
        self.town.run(self.town.join(person, leaves=leaves))

    @precondition(lambda self: self.town.pushes)
    @rule(which=some)
    def is_told(self, which: int) -> None:
        """One of the gateway's pushes arrives, perhaps before older ones."""
        body = self.town.pushes.pop(which % len(self.town.pushes))
        self.pushed.append(body)
        self.town.run(self.town.deliver(body))

    @precondition(lambda self: self.town.pushes)
    @rule(which=some, person=people, word=words)
    def is_told_together(self, which: int, person: str, word: str) -> None:
        """One of its pushes arrives in the same commit as a message."""
        body = self.town.pushes.pop(which % len(self.town.pushes))
        self.pushed.append(body)
        self._deliver([(person, word, None)], body)

    @rule(kind=st.sampled_from(["500", "429", "reset", "garbage", ""]))
    def fails(self, kind: str) -> None:
        """The gateway begins to fail, or is well again."""
        self.town.fake.set_faults({kind: 1.0} if kind else {})

    @rule()
    def makes_a_list(self) -> None:
        """The gateway prints its list of subscribers."""
        self.town.settle_list()
        self.town.lists.append((self.town.clock.now, set(self.town.members)))

    # Operators, and accidents

    @precondition(lambda self: self.town.lists)
    @rule(which=some)
    def reconciles(self, which: int) -> None:
        """Somebody corrects the book by a list."""
        self.town.run(self.town.reconcile(*self.town.lists[which % len(self.town.lists)]))

    @precondition(lambda self: self.pushed)
    @rule(which=some)
    def replays(self, which: int) -> None:
        """Somebody replays an event."""
        events = stored.events(self.town.store)
        self.town.run(self.town.replay(events[which % len(events)].seq))

    @rule()
    def restarts(self) -> None:
        """The service is stopped and started."""
        self.town.run(self.town.restart())

    @rule()
    def dies(self) -> None:
        """The service is killed and started."""
        self.town.run(self.town.crash())

    @rule(minutes=st.integers(1, 30))
    def time_passes(self, minutes: int) -> None:
        """What was put off becomes due."""
        self.town.clock.move(minutes=minutes)

    @rule()
    def comes_to_rest(self) -> None:
        """The gateway's pushes have all arrived, and nothing waits: all agree."""
        town = self.town
        while town.pushes:
            self.is_told(0)
        town.run(town.rest())
        got = town.sent()
        messages = stored.messages(town.store)
        open_ends = {each.text for each in messages if each.state in ("unknown", "dead")}
        for body, (person, said) in self.asked.items():
            answered = town.replies[body].count(said)
            number = answered + got[person, said]
            assert number <= 1, f"{said!r} came {number} times"
            if body in self.owed and said not in open_ends:
                assert number == 1, f"{said!r} never came"
            if body in self.barred:
                assert number == 0, f"{said!r} came to somebody who had opted out"
        assert town.book() == town.members, "the book and the gateway's list differ"

    def _deliver(self, written: list[tuple[str, str, str | None]], *others: bytes) -> None:
        town, bodies = self.town, list(others)
        before = set(self.opted_out)
        changing = {person for person, word, _ in written if word in ("STOP", "START")}
        for person, word, old_id in written:
            id_ = old_id or town.new_id()
            text = f"{word} {id_}" if word in ("NOW", "LATER") else word
            body = town.message(person, text, id_)
            bodies.append(body)
            if (id_, person, text) in self.known:
                continue
            self.known.add((id_, person, text))
            if word in ("NOW", "LATER"):
                self.asked[body] = (person, f"{word.lower()} +{person} {id_}")
                if person in before and person not in changing:
                    self.barred.add(body)
                elif person not in changing:
                    self.owed.add(body)
            self._note(person, word)
        self.pushed += bodies[len(others) :]
        town.run(town.deliver(*bodies))

    def _note(self, person: str, word: str) -> None:
        if word == "STOP":
            self.opted_out.add(person)
            self.owed -= {body for body in self.owed if self.asked[body][0] == person}
        elif word == "START":
            self.opted_out.discard(person)
            self.barred -= {body for body in self.barred if self.asked[body][0] == person}


def play(examples: int, steps: int) -> None:
    """Plays so many times."""
    run_state_machine_as_test(
        Agreement,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # to shrink takes longer than to read what was found
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.commit
def test_all_agree_in_the_end() -> None:
    """One answer to each message, none to who has opted out, and one list of subscribers."""
    play(examples=5, steps=15)


@pytest.mark.slow
def test_all_agree_however_long_it_goes_on() -> None:
    """The same for ten minutes."""
    until = time.monotonic() + MINUTES * 60
    while time.monotonic() < until:
        play(examples=20, steps=40)
