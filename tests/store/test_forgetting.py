"""A person who is forgotten is nowhere in the store, but still not messaged after a STOP."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from receiver.actions import Action, OptIn, OptOut, Send, Subscribe
from receiver.forgetting import forget, obstacles
from receiver.handlers import Reply
from receiver.msisdn import national_digits, spellings
from receiver.store import Attempt, ReplyState, Store, Wishes
from receiver.store.people import StoredPeople
from tests.harness import NOW, look
from tests.store.rows import PERSON, intake, opened

pytestmark = pytest.mark.anyio

OTHER = "+254711000000"


def wishes(*actions: Action) -> tuple[Wishes, ...]:
    """What a handler asks for."""
    return (Wishes(handler="mine.it", actions=actions),)


async def fill(store: Store) -> None:
    """A little of everything about the person, and the same about another one."""
    for number, person in enumerate((PERSON, OTHER)):
        asked = (
            OptOut(person, "STOP", short_code="22915"),
            Subscribe(msisdn=person, service_id="32"),
            Send(to="0726770792" if person == PERSON else person, text="hello"),
        )
        push = intake(
            store, number, subject=person, sender=person, wishes=wishes(*asked), jobs=["mine.late"]
        )
        await store.take(push)
        await store.quarantine(
            source="tilil",
            authenticated=True,
            outcome="malformed",
            reason="no id",
            received_at=NOW,
            client="192.0.2.1",
            request=push.row.request.replace(b"a", person.removeprefix("+254").encode()),
            max_rows=10,
            max_bytes=10_000,
        )


async def test_nothing_of_the_person_is_left(tmp_path: Path) -> None:
    """No table has the number in any spelling; all of the other person is there."""
    async with opened(tmp_path) as store:
        await fill(store)
        forgotten = await forget(store, PERSON)
        assert forgotten.left == []
        assert forgotten.gone == {
            "events": 1,
            "messages": 1,
            "jobs": 1,
            "subscriptions": 1,
            "subscription changes": 1,
            "opt-out changes": 1,
            "opt-outs kept without the number": 1,
            "quarantine": 1,
        }
        assert await obstacles(store, OTHER) != []
        for table in ("messages", "jobs", "subscriptions", "opt_out_history", "quarantine"):
            assert len(look(store.path, f"SELECT * FROM {table}")) == (2 if table == "jobs" else 1)
    digits = national_digits(PERSON).encode()
    others = national_digits(OTHER).encode()
    raw = (tmp_path / "receiver.db").read_bytes()
    assert digits not in raw
    assert others in raw


async def test_who_opted_out_stays_opted_out(tmp_path: Path) -> None:
    """Replies, messages and handlers find the opt-out in its scope; START lifts it."""
    async with opened(tmp_path) as store:
        people = StoredPeople(store.path)
        await fill(store)
        await forget(store, PERSON)
        ((name,), _) = look(store.path, "SELECT msisdn FROM opt_outs ORDER BY msisdn")
        assert name.startswith("#")
        assert people.has_opted_out(PERSON, short_code="22915")
        assert not people.has_opted_out(PERSON, short_code="70700")
        assert not people.has_opted_out("+254799000000", short_code="22915")
        reader = store.reader.opt_outs
        assert await reader.blocking(PERSON, sender="22915", service_id=None)
        assert [line.msisdn for line in await reader.find(PERSON)] == [name]
        # A reply in the answer, and a message.
        taken = await store.take(intake(store, "new", reply=Reply("hello"), answer=b"hello"))
        assert taken.answer == b"plain"
        await store.take(intake(store, "more", wishes=wishes(Send(to=PERSON, text="hello"))))
        ((message,),) = look(store.path, "SELECT max(id) FROM messages")
        (gone,) = await store.begin_messages(
            [Attempt(message, PERSON, sender="22915")], NOW, timedelta(days=1)
        )
        assert gone is not None
        # START.
        assert await store.opt_in(OptIn(PERSON, "START", short_code="22915"), NOW)
        assert not people.has_opted_out(PERSON, short_code="22915")
        assert (await store.take(intake(store, "last", reply=Reply("hello")))).answer == b"answer"
        people.close()


async def test_a_repeat_of_what_was_forgotten_is_known(tmp_path: Path) -> None:
    """The provider's next try of a forgotten message does not bring the person back."""
    async with opened(tmp_path) as store:
        await store.take(intake(store, "one"))
        await forget(store, PERSON)
        assert not (await store.take(intake(store, "one"))).new
        assert look(store.path, "SELECT * FROM events WHERE type <> ''") == []


async def test_what_is_under_way_is_named(tmp_path: Path) -> None:
    """A message that is being sent and an answer that is open stay for now; again, they go."""
    async with opened(tmp_path) as store:
        asked = wishes(Send(to=PERSON, text="hello"))
        taken = await store.take(intake(store, "one", wishes=asked, state=ReplyState.OPEN))
        await store.begin_messages([Attempt(1, PERSON)], NOW, timedelta(days=1))
        forgotten = await forget(store, PERSON)
        assert [line.split(";")[0] for line in forgotten.left] == [
            "1 events are being answered just now",
            "1 messages are being sent just now",
        ]
        await store.settle(taken.seq)
        await store.recover_messages(NOW, [])
        assert (await forget(store, PERSON)).left == []
        assert look(store.path, "SELECT * FROM messages") == []


async def test_a_subscriber_is_not_forgotten_unseen(tmp_path: Path) -> None:
    """Each active subscription is a reason not to, by its source, short code and service."""
    async with opened(tmp_path) as store:
        assert await obstacles(store, PERSON) == []
        asked = Subscribe(msisdn=PERSON, short_code="22915", service_id="32")
        await store.take(intake(store, "one", wishes=wishes(asked)))
        assert await obstacles(store, PERSON) == ["subscribed at tilil to 22915 service 32"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            "+254726770792",
            ["+254726770792", "254726770792", "00254726770792", "0726770792", "726770792"],
        ),
        ("+447786200000", ["+447786200000", "447786200000", "00447786200000", "07786200000"]),
    ],
)
def test_spellings_are_those_people_use(number: str, expected: list[str]) -> None:
    """International and national, with and without prefixes; the number itself first."""
    assert spellings(number)[: len(expected)] == expected
    assert all(one.endswith(national_digits(number)) for one in spellings(number))
