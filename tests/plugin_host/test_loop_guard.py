"""No two programs go on answering each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config import LoopGuard
from receiver.events import Event, EventType, Message
from receiver.handlers import addresses
from receiver.plugin_host.loop_guard import Guard
from tests.harness import NOW
from tests.plugins.asking import change, message, report

SAME = "the same text came from this person just before"
OFTEN = "this person got as many replies as loop_guard allows"


def later(event: Event[Any], seconds: float) -> Event[Any]:
    """The event, had it come so much later."""
    moment = NOW + timedelta(seconds=seconds)
    return msgspec.structs.replace(event, receivedat=moment)


def named(event: Event[Any], id_: str) -> Event[Any]:
    """The event with an id of its own."""
    return msgspec.structs.replace(event, id=id_)


def verdict(guard: Guard, event: Event[Any], key: str) -> str | None:
    """What the guard says of an event when it comes."""
    return guard.judge(event, key, milliseconds(event))


def milliseconds(event: Event[Any]) -> int:
    """When it came."""
    return round(event.receivedat.timestamp() * 1000)


def judge(guard: Guard, *texts: str, each: float = 60.0, **fields: Any) -> list[str | None]:
    """The verdicts on one person's messages, one every `each` seconds."""
    return [
        verdict(guard, later(message(text, **fields), n * each), f"{n} {text}")
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize("sender", ["MPESA", "22915", "Safaricom", "44"])
def test_only_people_are_answered(sender: str) -> None:
    """Alphanumeric senders and short codes get no automatic reply."""
    assert judge(Guard(LoopGuard(), ()), "hello", sender=sender) == [
        "the sender is no person's number"
    ]


@pytest.mark.parametrize("own", ["+447786200000", "447786200000", "+44 7786 200000"])
def test_our_own_numbers_are_not_answered(own: str) -> None:
    """Whether sources send from them, or the configuration names them, or it is their own text."""
    number = "+447786200000"
    ours = "the sender is one of our own numbers"
    assert judge(Guard(LoopGuard(), addresses(own)), "a", sender=number) == [ours]
    assert judge(Guard(LoopGuard(), ()), "a", sender=number, to=number) == [ours]


def test_the_same_text_is_answered_once_within_seconds() -> None:
    """A program that says the same again and again is answered once, however long it goes on."""
    assert judge(Guard(LoopGuard(), ()), "hi", "hi", "hi", "ho", "hi", each=4) == [
        None,
        SAME,
        SAME,
        None,
        None,
    ]
    assert judge(Guard(LoopGuard(), ()), "hi", "hi", each=5) == [None, None]
    assert judge(Guard(LoopGuard(same_text=0), ()), "hi", "hi", each=0) == [None, None]


def test_a_person_gets_so_many_replies_and_then_a_few_a_minute() -> None:
    """Beyond the burst there is one reply every ten seconds, whatever comes."""
    guard = Guard(LoopGuard(burst=3, per_minute=6), ())
    verdicts = judge(guard, *map(str, range(25)), each=2)
    assert verdicts[:3] == [None, None, None]
    answered = [n for n, verdict in enumerate(verdicts) if verdict is None]
    assert len(answered) == 3 + 24 * 2 // 10
    assert set(verdicts) == {None, OFTEN}


def test_people_and_numbers_of_ours_do_not_share() -> None:
    """One person's flood takes nothing from others, nor from another number of ours."""
    guard = Guard(LoopGuard(burst=1), ())
    assert judge(guard, "a", "b", each=0) == [None, OFTEN]
    assert judge(guard, "a", each=0, sender="+254711111111") == [None]
    assert judge(guard, "a", each=0, to="40404") == [None]


def test_a_repeat_costs_nothing() -> None:
    """A push that comes again has the verdict of the first, and takes no reply from the next."""
    guard = Guard(LoopGuard(burst=2), ())
    assert [verdict(guard, named(message("a"), "1"), "1") for _ in range(9)] == [None] * 9
    assert verdict(guard, named(later(message("b"), 1), "2"), "2") is None
    assert verdict(guard, named(later(message("c"), 1), "3"), "3") == OFTEN


def test_what_a_repeat_took_is_given_back() -> None:
    """Of an older event, as the store says; once, and nothing of who took nothing."""
    guard = Guard(LoopGuard(burst=3), ())
    for n, text in enumerate("ab"):
        assert verdict(guard, named(message(text), text), str(n)) is None
    older, latest = named(message("a"), "c"), named(message("a"), "d")
    assert [verdict(guard, one, "0") for one in (older, latest)] == [None, None]
    for _ in range(3):
        for one in (older, latest):
            guard.give_back(one)
    assert verdict(guard, named(message("e"), "e"), "4") is None
    assert verdict(guard, named(message("f"), "f"), "5") == OFTEN


def test_the_same_key_with_another_text_is_no_repeat() -> None:
    """A gateway whose id is always the same does not make everything a repeat."""
    guard = Guard(LoopGuard(burst=2), ())
    assert [verdict(guard, message(text), "0") for text in "abc"] == [None, None, OFTEN]


@pytest.mark.parametrize("id_", ["0", "NULL", "-"])
def test_an_id_that_is_none_makes_no_repeat(id_: str) -> None:
    """The same text under such an id is the same text again."""
    guard = Guard(LoopGuard(), ())
    event = message("away")
    event = msgspec.structs.replace(
        event, data=msgspec.structs.replace(event.data, external_id=id_)
    )
    assert [verdict(guard, event, f"message:{id_}") for _ in range(3)] == [None, SAME, SAME]


def test_a_clock_that_was_ahead_holds_nothing_back() -> None:
    """What came by that clock came long ago, however long it was ahead."""
    guard = Guard(LoopGuard(burst=1), ())
    assert judge(guard, "a", each=0) == [None]
    assert verdict(guard, later(message("a"), 3 * 3600), "2") is None
    assert verdict(guard, later(message("a"), 1800), "3") is None
    assert verdict(guard, later(message("a"), 1801), "4") == SAME


def test_reports_and_subscriptions_count_as_well() -> None:
    """A handler that answers its own delivery reports would go on for ever."""
    guard = Guard(LoopGuard(burst=1), ())
    assert [verdict(guard, report(), str(n)) for n in range(2)] == [None, OFTEN]
    activated = change(EventType.SUBSCRIPTION_ACTIVATED)
    assert [verdict(guard, activated, str(n)) for n in range(2)] == [None, OFTEN]


def test_it_can_be_switched_off() -> None:
    """Then everybody is answered, always."""
    guard = Guard(LoopGuard(enabled=False, burst=1), ())
    assert judge(guard, "a", "a", "a", each=0) == [None] * 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more people than it remembers, those are forgotten who have not written for long."""
    monkeypatch.setattr("receiver.plugin_host.loop_guard._REMEMBERED", 10)
    guard = Guard(LoopGuard(burst=1), ())
    people = [f"+2547110{n:05}" for n in range(1000)]
    for n, person in enumerate(people):
        assert judge(guard, "a", "b", each=0, sender=person) == [None, OFTEN]
        assert len(guard._recent) + len(guard._before) <= 20
        assert len(guard._frequent) <= 10
        assert verdict(guard, message(f"more {n}", sender=person), f"{n}") == OFTEN
    assert verdict(guard, message("c", sender=people[0]), "c") is None


def test_who_writes_now_and_then_is_not_watched() -> None:
    """Neither are those who stop writing often; there may be many of both."""
    guard = Guard(LoopGuard(burst=2, per_minute=6), ())
    assert judge(guard, "a", "b", "c", each=11) == [None] * 3
    assert guard._frequent == {}
    guard = Guard(LoopGuard(burst=2, per_minute=6), ())
    assert judge(guard, "d", "e", "f", each=1) == [None, None, OFTEN]
    assert len(guard._frequent) == 1
    assert verdict(guard, later(message("g"), 60), "g") is None
    assert guard._frequent == {}


@given(
    gaps=st.lists(st.floats(0, 120), max_size=60),
    burst=st.integers(1, 5),
    per_minute=st.integers(1, 30),
)
def test_never_more_replies_than_allowed(gaps: list[float], burst: int, per_minute: int) -> None:
    """In no stretch of time are there more than the burst and what came to it meanwhile."""
    guard = Guard(LoopGuard(burst=burst, per_minute=per_minute), ())
    at, replies = 0.0, []
    for n, gap in enumerate(gaps):
        at += gap
        event: Event[Message] = later(message(str(n)), at)
        if verdict(guard, event, str(n)) is None:
            replies.append(at)
    for i, start in enumerate(replies):
        for j, end in enumerate(replies[i:], 1):
            assert j <= burst + (end - start) * per_minute / 60 + 0.01
