"""Which handlers look at an event, what they make of it, and when work is tried again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import StoreUnavailable
from receiver.events import DeliveryReport, Event, EventType, Message
from receiver.extensions.border import describe
from receiver.handlers import (
    MARK,
    Context,
    Flag,
    Forward,
    OptIn,
    OptOut,
    Reply,
    Send,
    Subscribe,
    on_delivery,
    on_message,
)
from receiver.plugin_host.dispatch import PAUSES, RETRIES, BoundHandler, Dispatcher, Plan, asked_for
from tests.harness import NOW
from tests.plugins.asking import message

MESSAGE: Event[Message] = Event(
    id="0197",
    source="/sources/tilil",
    type=str(EventType.MESSAGE_RECEIVED),
    time=NOW,
    subject="+254726770792",
    provider="tilil",
    receivedat=NOW,
    data=Message(external_id="1", from_="+254726770792", to="22915", text="game", keyword="GAME"),
)
REPORT: Event[DeliveryReport] = Event(
    id="0198",
    source="/sources/tilil",
    type=str(EventType.DELIVERY_UPDATED),
    time=NOW,
    provider="tilil",
    receivedat=NOW,
    data=DeliveryReport(message_id="1"),
)


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Unspeakable:
    """What no error can name."""

    def __repr__(self) -> str:
        raise SystemExit("no words")


def handler(result: object, name: str = "handler", **options: Any) -> BoundHandler:
    """A handler of messages that returns `result`, or raises it."""

    def function(event: Event[Message], context: Context[None]) -> object:
        if isinstance(result, BaseException):
            raise result
        return result

    function.__name__ = function.__qualname__ = name
    decorated = on_message(**{"inline": True, **options})(function)
    return BoundHandler.of(
        "mine", getattr(decorated, MARK), Context(plugin="mine", settings=None, state=None)
    )


def plan(*handlers: BoundHandler, event: Event[Any] = MESSAGE) -> Plan:
    """What these handlers make of a message."""
    return Dispatcher(handlers).plan(event)


def test_without_handlers_there_is_nothing_to_do() -> None:
    """An event that nobody handles is stored all the same, with no work."""
    assert plan() == Plan()
    assert plan(handler("karibu"), event=REPORT) == Plan()


def test_the_first_reply_is_the_reply() -> None:
    """Handlers are asked in order; the reply of the first counts, its name is kept."""
    made = plan(handler(None, "a"), handler("one", "b"), handler("two", "c"))
    assert (made.reply, made.replied_by) == (Reply("one"), "mine.b")


def test_an_empty_reply_is_a_reply() -> None:
    """Silence on purpose keeps later handlers from answering."""
    assert plan(handler(""), handler("two", "b")).reply == Reply("")


def test_wishes_of_all_handlers_are_kept() -> None:
    """Also of those whose reply came too late."""
    send = Send(to="+254711000000", text="hello")
    out = OptOut("+254726770792", "STOP")
    made = plan(handler([out, "bye"], "a"), handler([send, "two"], "b"), handler([], "c"))
    assert made.reply == Reply("bye")
    assert [(wish.handler, wish.actions) for wish in made.handler_actions] == [
        ("mine.a", (out,)),
        ("mine.b", (send,)),
    ]


def test_what_comes_last_answers_if_nobody_else_did() -> None:
    """Where nobody else is to be asked, at once; a reply of another, silence too, is enough."""
    last = handler("default", "z", last=True)
    assert plan(last, handler(None, "a")).reply == Reply("default")
    flagged = plan(last, handler(Flag("look"), "a"))
    assert (flagged.reply, flagged.replied_by) == (Reply("default"), "mine.z")
    assert plan(last, handler("", "a")).reply == Reply("")


@pytest.mark.parametrize("inline", [True, False])
def test_a_filter_of_the_plugins_own_keeps_events_back(inline: bool) -> None:
    """It is asked with the context, for what passes the others; one that fails lets it pass."""
    asked: list[Event[Any]] = []

    def when(event: Event[Any], context: Context[None]) -> bool:
        assert context.plugin == "mine"
        asked.append(event)
        return False

    def fails(event: Event[Any], context: Context[None]) -> bool:
        raise SystemExit

    assert plan(handler("a", inline=inline, when=when)) == Plan()
    assert asked == [MESSAGE]
    assert plan(handler("a", inline=inline, when=when, keyword="NO")) == Plan()
    assert asked == [MESSAGE]
    made = plan(handler("a", inline=inline, when=fails))
    assert bool(made.reply if inline else made.jobs)


def test_what_comes_last_waits_for_handlers_that_could_answer() -> None:
    """It is a job behind theirs, if it has something to say; also behind one that failed."""
    last, silent = handler("default", "z", last=True), handler(None, "y", last=True)
    made = plan(last, silent, handler("late", "a", inline=False))
    assert (made.reply, [job.handler for job in made.jobs]) == (None, ["mine.a", "mine.z"])
    made = plan(last, handler(ValueError("no"), "a"))
    assert (made.reply, [job.handler for job in made.jobs]) == (None, ["mine.a", "mine.z"])
    other = handler("late", "a", inline=False, keyword="OTHER")
    assert plan(last, other).reply == Reply("default")


def test_handlers_that_are_not_inline_become_jobs() -> None:
    """They are named in order, for after the commit, and not called."""
    calls = handler(AssertionError("called"), "a", inline=False)
    made = plan(calls, handler("karibu", "b"), handler(None, "c", inline=False))
    assert [job.handler for job in made.jobs] == ["mine.a", "mine.c"]
    assert made.reply == Reply("karibu")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"keyword": "game"}, True),
        ({"keyword": ["BALANCE", "Game"]}, True),
        ({"keyword": "balance"}, False),
        ({"to": "22915"}, True),
        ({"to": "70700"}, False),
        ({"source": "tilil"}, True),
        ({"source": "tilil-2"}, False),
        ({"keyword": "GAME", "to": "22915", "source": "tilil"}, True),
        ({"keyword": "GAME", "to": "70700"}, False),
    ],
)
def test_handlers_get_what_they_want(options: dict[str, Any], *, wanted: bool) -> None:
    """Filters hold for inline handlers and jobs alike."""
    assert (plan(handler("karibu", **options)).reply is not None) is wanted
    assert bool(plan(handler("karibu", inline=False, **options)).jobs) is wanted


def test_handlers_get_only_their_types() -> None:
    """A handler of reports sees no message."""

    def noted(event: Event[DeliveryReport], context: Context[None]) -> str:
        return "noted"

    bound = BoundHandler.of(
        "mine",
        getattr(on_delivery(inline=True)(noted), MARK),
        Context(plugin="mine", settings=None, state=None),
    )
    assert plan(bound) == Plan()
    assert plan(bound, event=REPORT).reply == Reply("noted")


@pytest.mark.parametrize(
    "result",
    [
        ValueError("no"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        RecursionError("deep"),
        ValueError("half \ud800 a character"),
        Mute(),
        5,
        {"reply": "x"},
        [["x", 5]],
        Reply("\ud800"),
        Reply(None),  # type: ignore[arg-type] # nonsense is the point
        OptOut(254726770792),  # type: ignore[arg-type] # nonsense
        Send(to=b"+254", text="x"),  # type: ignore[arg-type] # nonsense
        Send(to="+254711000000", text="\ud800"),
        Flag("\ud800"),
        OptOut("+254726770792", "\ud800"),
        Unspeakable(),
    ],
    ids=lambda result: type(result).__name__,
)
def test_nonsense_of_an_inline_handler_becomes_a_job(result: object) -> None:
    """What raises or returns nonsense is noted and tried again; all other handlers count."""
    made = plan(handler(result, "bad"), handler("karibu", "good"))
    assert made.reply == Reply("karibu")
    assert made.handler_actions == ()
    (job,) = made.jobs
    assert (job.handler, job.attempts) == ("mine.bad", 1)
    assert job.due_at > NOW.timestamp() * 1e6
    assert job.error
    job.error.encode()


@pytest.mark.parametrize("in_filter", [False, True])
def test_a_handler_that_cannot_read_the_store_refuses_the_push(*, in_filter: bool) -> None:
    """What it would have said about an opt-out is not known: the push comes again."""
    why = StoreUnavailable("the database is away")

    def fails(event: Event[Any], context: Context[None]) -> bool:
        raise why

    bad = handler("x", when=fails) if in_filter else handler(why)
    with pytest.raises(StoreUnavailable, match="away"):
        plan(bad, handler("karibu", "good"))


people = st.sampled_from(["+254726770792", "22915"])
addresses = people | st.just("Shop")


@given(
    st.lists(
        st.builds(Reply, st.text())
        | st.builds(
            Send,
            to=people,
            sender=st.none() | addresses,
            text=st.text(),
            source=st.none() | st.text(),
        )
        | st.builds(OptIn, people, st.text(), st.none() | addresses)
        | st.builds(Subscribe, msisdn=people, keyword=st.none() | st.text())
        | st.builds(Forward, url=st.text())
    )
)
def test_actions_pass_unchanged(actions: list[Any]) -> None:
    """Whatever can be asked for arrives as it was asked for."""
    assert asked_for(actions, message("hello"), {}) == tuple(actions)


def test_pauses_grow_to_hours_and_end() -> None:
    """Each try is later than the one before, after the last there is none."""
    assert list(PAUSES) == sorted(PAUSES)
    assert PAUSES[-1] >= 3600
    for attempt, pause in enumerate(PAUSES, 1):
        due = RETRIES.next(attempt, NOW)
        assert due is not None
        assert pause * 0.8 <= (due - NOW) / timedelta(seconds=1) <= pause * 1.2
    assert RETRIES.next(len(PAUSES) + 1, NOW) is None


def test_what_failed_together_comes_back_apart() -> None:
    """The pauses are jittered."""
    assert len({RETRIES.next(1, NOW) for _ in range(50)}) > 10


def test_errors_are_told_in_one_bounded_line() -> None:
    """A dead letter shows the kind of error and the beginning of what it says."""
    text = describe(ValueError("one\ntwo" * 500))
    assert text.startswith("ValueError: one two")
    assert "\n" not in text
    assert len(text) == 500
