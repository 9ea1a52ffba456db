"""Stored events under today's rules: what differs, and what is done about it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import StoreUnusable
from receiver.events import utc_now
from receiver.handlers import Action, Flag, OptIn, OptOut, Reply, Send, Subscribe, Unsubscribe
from receiver.service import commands, control
from receiver.service.commands import Outcome
from receiver.service.execute import carry_out
from receiver.service.parts import Service
from receiver.service.replay_compare import EventComparison, ReplyChange, compare
from receiver.store import HandlerActions, ReplayRequest, ReplyState, open_store, replay_writes
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.event_effects import EventEffects, EventMessage, effects_of, undone
from receiver.store.replay_reads import Selection, open_replay_reader
from receiver.text.sms_length import split
from tests import stored
from tests.examples import examples
from tests.harness import (
    NOW,
    TOKEN,
    Clock,
    delivery,
    inbound,
    opened,
    parts,
    settings,
    subscription,
    take,
    until_async,
    with_plugin,
)
from tests.store.rows import PERSON, intake, opted_in, opted_out

pytestmark = pytest.mark.anyio

OTHER = "+254711000222"
LATER = """
from receiver.handlers import Flag, on_message

@on_message(keyword="POLL")
def mine(event, context):
    return [Flag("counted"), "Thanks"]
"""


def rules(**replies: str) -> dict[str, Any]:
    """A configuration with these keywords and replies."""
    made = [{"keyword": keyword, "reply": reply} for keyword, reply in replies.items()]
    enabled = ["opt_out", "keyword_reply", "subscriptions"]
    return settings(plugins={"enabled": enabled, "keyword_reply": {"rules": made}})


def doing(result: str) -> dict[str, Any]:
    """A configuration whose one handler, inline, returns this."""
    source = "from receiver.handlers import *\n@on_message(inline=True)\n"
    return with_plugin(f"{source}def mine(event, context):\n    return {result}\n")


def judged(folder: Path, raw: dict[str, Any], **wanted: Any) -> list[EventComparison]:
    """What today's rules, those of `raw`, make of the events in the store."""
    made = parts(folder, raw)
    with open_replay_reader(folder / "receiver.db") as chronicle:
        found = [
            compare(made.dispatcher, made.people, made.registry, happened)
            for chunk in chronicle.chunks(Selection(**wanted))
            for happened in chunk
        ]
    made.people.close()
    return found


async def apply(
    folder: Path, raw: dict[str, Any], *, again: bool = False, beside: Service | None = None
) -> Outcome:
    """Does for all events what `receiver replay --apply` does."""
    todo = [(one.seq, one.digest) for one in judged(folder, raw) if one.applies(again=again)]
    command = commands.Replay(events=todo, again=again)
    async with asyncio.timeout(30):
        if beside is not None:
            return await carry_out(beside, command, "tests")
        return await control.perform(parts(folder, raw), command)


async def fill(folder: Path, raw: dict[str, Any], *bodies: bytes) -> None:
    """Has a service with this configuration take pushes."""
    async with opened(folder, raw) as service:
        for body in bodies:
            await take(service, body)


def messages(folder: Path) -> list[Any]:
    """Who is sent what, on whose behalf."""
    every = stored.messages(folder / "receiver.db")
    return [(message.to, message.text, message.handler) for message in every]


def work(folder: Path) -> list[tuple[str, str]]:
    """The kinds of what waits, and the handlers that asked for it."""
    return [(job.kind, job.handler) for job in stored.jobs(folder / "receiver.db")]


# What differs


async def test_the_same_rules_differ_in_nothing(tmp_path: Path) -> None:
    """Replies in answers, greetings, the book, opt-outs, reports: all as then."""
    raw = rules(GAME="Welcome {{ rest }}")
    raw["plugins"]["subscriptions"] = {"welcome": "Hello"}
    await fill(
        tmp_path,
        raw,
        inbound(1, "game on"),
        inbound(2, "nothing"),
        subscription("activation", "20201120120000"),
        subscription("deactivation", "20201121120000"),
        inbound(3, "game", mobile="254711000222"),
    )
    every = judged(tmp_path, raw)
    assert len(every) == 5
    assert not [one for one in every if one.differs or one.failing or one.missing]
    assert [bool(one.digest) for one in every] == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("then", "now", "change"),
    [
        ("Old", "New", ("Old", "New")),
        (None, "New", (None, "New")),
        ("Old", None, ("Old", None)),
        ("Old", "", ("Old", None)),
        ("", None, None),
        ("Same", "Same", None),
    ],
)
async def test_the_reply_of_then_is_found_in_the_answer(
    tmp_path: Path, then: str | None, now: str | None, change: tuple[str, str] | None
) -> None:
    """And compared with that of now: changed, added, gone, or as it was."""
    before, after = (rules() if text is None else rules(GAME=text) for text in (then, now))
    await fill(tmp_path, before, inbound(1, "game"))
    (one,) = judged(tmp_path, after)
    reply = one.reply
    assert (None if reply is None else (reply.then, reply.now)) == change
    assert one.missing is (then is None)


async def test_the_reply_of_then_is_found_among_the_messages(tmp_path: Path) -> None:
    """Where the provider takes none in the answer; then it is known who replied."""
    fields = {"source": "447777777777", "dest": "84433", "msg": "game", "id": "1", "auth": TOKEN}
    async with opened(tmp_path, rules(GAME="Hello")) as service:
        query = urlencode(fields).encode()
        await take(service, b"", source="text-connect", method="GET", query=query)
    assert messages(tmp_path) == [("+447777777777", "Hello", "keyword_reply.answer")]
    assert not judged(tmp_path, rules(GAME="Hello"))[0].differs
    (one,) = judged(tmp_path, rules(GAME="Bye"))
    by = "keyword_reply.answer"
    assert one.reply == ReplyChange(then="Hello", then_by=by, now="Bye", now_by=by)
    assert (one.unsent, one.missing) == ((), False)
    (one,) = judged(tmp_path, rules())
    assert one.reply == ReplyChange(then="Hello", then_by=by)


async def test_the_reply_to_a_report_is_found_too(tmp_path: Path) -> None:
    """It left from the address that the reported message was from."""
    source = "from receiver.handlers import *\n@on_delivery(inline=True)\n"
    raw = with_plugin(f"{source}def mine(event, context):\n    return 'How was it?'\n")
    about = {"id": "1", "mobile": "254708400000", "sender_id": "SHOP", "status": "delivered"}
    body = json.dumps({"event": "sms.delivered", "data": about}).encode()
    async with opened(tmp_path, raw) as service:
        await take(service, body, source="talkntalk", token=TOKEN)
    [one] = judged(tmp_path, raw)
    assert [text for _, text, _ in messages(tmp_path)] == ["How was it?"]
    assert not one.differs


async def test_a_reply_that_was_withheld_is_none(tmp_path: Path) -> None:
    """While the person is opted out nothing differs; once they are not, it could be sent."""
    raw = rules(GAME="Hello")
    await fill(tmp_path, raw, inbound(1, "stop"), inbound(2, "game"))
    assert not judged(tmp_path, raw)[1].differs
    async with opened(tmp_path, raw) as service:
        await opted_in(service.store, OptIn(PERSON), NOW)
    one = judged(tmp_path, raw)[1]
    assert one.reply == ReplyChange(now="Hello", now_by="keyword_reply.answer")
    assert not one.missing  # it has been decided then


async def test_a_reply_that_was_held_back_is_none(tmp_path: Path) -> None:
    """What the loop guard let nobody say then differs in nothing, and is not made up for."""
    raw = {**rules(GAME="Hello"), "loop_guard": {"burst": 1}}
    await fill(tmp_path, raw, inbound(1, "game"), inbound(2, "game", mobile="22915"))
    assert [bool(event.note) for event in stored.events(tmp_path / "receiver.db")] == [False, True]
    assert [(one.differs, one.missing) for one in judged(tmp_path, raw)] == [(False, False)] * 2


async def test_a_reply_that_would_be_withheld_says_so(tmp_path: Path) -> None:
    """It differs, but there is nothing to send."""
    await fill(tmp_path, rules(), inbound(1, "stop"), inbound(2, "game"))
    one = judged(tmp_path, rules(GAME="Hello"))[1]
    assert one.reply is not None
    assert one.reply.withheld
    assert not one.missing


ACTIONS = [
    'Send(to="+254711000222", text="hi")',
    "Subscribe(msisdn=event.subject, service_id='7')",
    "Unsubscribe(msisdn=event.subject, short_code='22915')",
    "OptOut(event.subject, 'STOP')",
    "OptIn(event.subject)",
    "Flag('look at it')",
]


@pytest.mark.parametrize("action", ACTIONS)
async def test_actions_are_known_by_what_they_left(tmp_path: Path, action: str) -> None:
    """One that was done is as then; one that was not is added; one not asked for is gone."""
    await fill(tmp_path, doing(action), inbound(1))
    (one,) = judged(tmp_path, doing(action))
    assert not one.differs
    (one,) = judged(tmp_path, doing("None"))
    assert (len(one.unsent) + len(one.gone), one.missing) == (1, False)
    (one,) = judged(tmp_path, doing(f"[{action}, {action}]"))
    assert [handler for handler, _ in one.added] == ["mine.mine"]
    assert one.missing


async def test_a_handler_that_fails_now_is_shown(tmp_path: Path) -> None:
    """With its error; nothing of it could be done."""
    await fill(tmp_path, doing("None"), inbound(1))
    (one,) = judged(tmp_path, doing("1 / 0"))
    assert [job.handler for job in one.failing] == ["mine.mine"]
    assert "ZeroDivisionError" in (one.failing[0].error or "")
    assert not one.differs
    assert not one.applies(again=True)


async def test_handlers_that_are_not_inline_are_named_and_not_run(tmp_path: Path) -> None:
    """What they may have done then is no difference, since nobody knows what they would do."""
    raw = with_plugin(LATER)
    async with opened(tmp_path, raw) as service:
        await take(service, inbound(1, "poll yes"))
        await until_async(lambda: _none(service), "done")
    (one,) = judged(tmp_path, raw)
    assert (one.later, one.differs) == (("mine.mine",), False)
    assert (one.applies(again=False), one.applies(again=True)) == (False, True)
    (one,) = judged(tmp_path, rules())
    assert one.reply == ReplyChange(then="Thanks")
    assert [left.key for left in one.gone] == [("flag", "counted")]


async def _none(service: Service) -> bool:
    return not await service.store.reader.jobs()


@given(st.text(min_size=1, max_size=400), st.integers(5, 160))
def test_a_text_sent_in_pieces_is_the_text(text: str, limit: int) -> None:
    """However it was broken up, it was sent, and is not to be sent again."""
    pieces = [EventMessage(handler="a.b", to=PERSON, text=piece) for piece in split(text, limit)]
    missing, left, _ = undone([("a.b", Send(to=PERSON, text=text))], EventEffects(pieces), "tilil")
    assert (missing, left) == ([], [])


# Doing it


@pytest.mark.parametrize("beside", [True, False])
async def test_what_was_never_done_is_done_once(tmp_path: Path, *, beside: bool) -> None:
    """Also when it is asked for twice, beside a service or without one."""
    await fill(tmp_path, rules(), inbound(1, "game"), inbound(2, "game", mobile="254711000222"))
    raw = rules(GAME="Welcome")
    expected = [(who, "Welcome", "keyword_reply.answer") for who in (PERSON, OTHER)]
    if beside:
        async with opened(tmp_path, raw) as service:
            outcome = await apply(tmp_path, raw, beside=service)
            repeated = await apply(tmp_path, raw, beside=service)
    else:
        outcome, repeated = await apply(tmp_path, raw), await apply(tmp_path, raw)
    assert outcome == Outcome(2, counts={"replies": 2, "actions": 0, "handlers": 0})
    assert repeated.changed == 0
    assert messages(tmp_path) == expected
    replies = [event.reply for event in stored.events(tmp_path / "receiver.db")]
    assert replies == [ReplyState.SENT] * 2
    assert not [one for one in judged(tmp_path, raw) if one.differs]


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_is_done_once(tmp_path: Path, action: str) -> None:
    """It is in the history of its event, so it is not done again, by command or without."""
    await fill(tmp_path, doing("None"), inbound(1))
    assert (await apply(tmp_path, doing(action))).counts["actions"] == 1
    (one,) = judged(tmp_path, doing(action))
    assert not one.differs
    command = commands.Replay(events=[(one.seq, one.digest)])
    assert await control.perform(parts(tmp_path, doing(action)), command) == Outcome(
        0, counts={"replies": 0, "actions": 0, "handlers": 0}
    )


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    Send(to=PERSON, text="hi"),
                    Send(to="0726770792", text="hi there, long enough"),
                    Subscribe(msisdn=PERSON, service_id="7"),
                    Unsubscribe(msisdn=PERSON, service_id="7"),
                    OptOut(PERSON),
                    OptIn(PERSON),
                    Flag("look"),
                ]
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([None, Reply("yes"), Reply("yes", even_if_opted_out=True), Reply("")]),
)
@examples(60)
def test_doing_it_twice_is_doing_it_once(handlers: list[list[Action]], reply: Reply | None) -> None:
    """Whatever handlers ask for, in whatever number, the second time finds all of it done."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "receiver.db"
        seq = asyncio.run(_store_one(path))
        handler_actions = tuple(
            HandlerActions(handler=f"mine.h{n}", actions=tuple(some))
            for n, some in enumerate(handlers)
        )
        wanted = [
            ReplayRequest(
                seq=seq, reply=reply, replied_by="mine.h0", handler_actions=handler_actions
            )
        ]
        with closing(open_writer(path)) as db:
            (first,) = replay_writes.replay(db, wanted, NOW)
            (second,) = replay_writes.replay(db, wanted, NOW + timedelta(microseconds=1))
    assert first.actions == sum(map(len, handlers))
    assert not second.changed


async def _store_one(path: Path, **fields: Any) -> int:
    async with open_store(path) as store:
        return (await store.take(intake(store, 1, **fields))).seq


async def test_a_reply_that_was_given_is_given_again_only_on_demand(tmp_path: Path) -> None:
    """As a message, since the answer has left; what differs is no reason to write again."""
    await fill(tmp_path, rules(GAME="Old"), inbound(1, "game"))
    raw = rules(GAME="New")
    assert judged(tmp_path, raw)[0].differs
    assert (await apply(tmp_path, raw)).changed == 0
    assert messages(tmp_path) == []
    assert (await apply(tmp_path, raw, again=True)).counts["replies"] == 1
    assert messages(tmp_path) == [(PERSON, "New", "keyword_reply.answer")]
    assert not judged(tmp_path, raw)[0].differs


async def test_the_opted_out_stay_unmessaged(tmp_path: Path) -> None:
    """Also when everything is done again."""
    await fill(tmp_path, rules(), inbound(1, "game"), inbound(2, "stop"))
    for again in (False, True):
        assert (await apply(tmp_path, rules(GAME="Hello"), again=again)).counts["replies"] <= again
    assert [text for _, text, _ in messages(tmp_path)] == [
        "You will get no more messages from us. To get them again, text START."
    ]


async def test_handlers_in_the_background_run_again_only_on_demand(tmp_path: Path) -> None:
    """Each that wants the event gets a job, unless it has one; the service does the rest."""
    await fill(tmp_path, rules(), inbound(1, "poll yes"), inbound(2, "other"))
    raw = with_plugin(LATER)
    assert (await apply(tmp_path, raw)).changed == 0
    assert (await apply(tmp_path, raw, again=True)).counts["handlers"] == 1
    assert (await apply(tmp_path, raw, again=True)).counts["handlers"] == 0
    async with opened(tmp_path, raw, clock=utc_now) as service:  # as the command has it
        await until_async(lambda: _done(service), "done")
    assert stored.flags(tmp_path / "receiver.db") == [("mine.mine", "counted")]
    assert messages(tmp_path) == [(PERSON, "Thanks", "mine.mine")]


async def test_handlers_in_the_background_are_not_run_by_the_way(tmp_path: Path) -> None:
    """An event for which something else is missing gives them no job, unless it is demanded."""
    await fill(tmp_path, rules(), inbound(1, "poll yes"))
    inline = "\n@on_message(inline=True)\ndef now(event, context):\n    return 'Hi'\n"
    raw = with_plugin(LATER + inline)
    counts = (await apply(tmp_path, raw)).counts
    assert counts == {"replies": 1, "actions": 0, "handlers": 0}
    assert [kind for kind, _ in work(tmp_path)] == ["send"]


async def _done(service: Service) -> bool:
    return not await service.store.reader.jobs(kind="handle")


async def test_a_handler_that_failed_then_does_not_run_twice(tmp_path: Path) -> None:
    """What it does now ends the job that would have tried it again."""
    await fill(tmp_path, doing("1 / 0"), inbound(1))
    assert work(tmp_path) == [("handle", "mine.mine")]
    assert (await apply(tmp_path, doing("[Flag('seen'), 'Hi']"))).changed == 1
    assert work(tmp_path) == [("send", "mine.mine")]


async def test_an_event_that_is_being_answered_is_left_alone(tmp_path: Path) -> None:
    """Its reply is about to be decided, and there must not be two."""
    await _store_one(tmp_path / "receiver.db", text="game", state=ReplyState.OPEN)
    (one,) = judged(tmp_path, rules(GAME="Hello"))
    assert not one.missing
    command = commands.Replay(events=[(one.seq, one.digest)])
    outcome = await control.perform(parts(tmp_path, rules(GAME="Hello")), command)
    assert (outcome.changed, len(outcome.failures)) == (0, 1)
    assert "still being answered" in outcome.failures[0]
    assert messages(tmp_path) == []


@pytest.mark.parametrize("first", ["OptOut", "OptIn"])
async def test_what_a_person_said_since_stands(tmp_path: Path, first: str) -> None:
    """An old opt-out does not undo a later opt-in, nor the other way round."""
    second = {"OptOut": "OptIn", "OptIn": "OptOut"}[first]
    both = f"{{'A': {first}, 'B': {second}}}.get(event.data.keyword, Flag)(event.subject)"
    later = f"{second}(event.subject) if event.data.keyword == 'B' else None"
    clock = Clock()
    async with opened(tmp_path, doing(later), clock=clock) as service:
        await take(service, inbound(1, "a"))
        clock.move(seconds=1)
        await take(service, inbound(2, "b"))
    outcome = await apply(tmp_path, doing(both))
    assert (outcome.changed, len(outcome.failures)) == (0, 1)
    assert len(stored.opt_out_history(tmp_path / "receiver.db")) == 1


async def test_what_was_missed_is_done_in_its_order(tmp_path: Path) -> None:
    """Of an opt-out and a later opt-in, both unheard then, the later one stands."""
    await fill(tmp_path, doing("None"), inbound(1, "a"), inbound(2, "b"))
    both = "(OptOut if event.data.keyword == 'A' else OptIn)(event.subject)"
    assert (await apply(tmp_path, doing(both))).changed == 2
    history = stored.opt_out_history(tmp_path / "receiver.db")
    assert [step.change for step in history] == ["out", "in"]
    assert stored.opt_outs(tmp_path / "receiver.db") == []


async def test_a_service_with_other_rules_does_nothing(tmp_path: Path) -> None:
    """What was shown is what is done, or nothing."""
    await fill(tmp_path, rules(), inbound(1, "game"))
    async with opened(tmp_path, rules(GAME="Old")) as service:
        outcome = await apply(tmp_path, rules(GAME="New"), beside=service)
    assert outcome.changed == 0
    assert "other rules" in outcome.failures[0]
    assert messages(tmp_path) == []


async def test_an_event_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A command for what is gone does the rest."""
    await fill(tmp_path, rules(), inbound(1, "game"))
    raw = rules(GAME="Hello")
    (one,) = judged(tmp_path, raw)
    command = commands.Replay(events=[(5, 1), (one.seq, one.digest)])
    outcome = await control.perform(parts(tmp_path, raw), command)
    assert (outcome.changed, len(outcome.failures)) == (1, 1)


# Which events


async def test_the_chosen_events_come_oldest_first(tmp_path: Path) -> None:
    """By type, source, person and time, from a chunk to the next, and at most so many."""
    clock = Clock()
    async with opened(tmp_path, clock=clock) as service:
        for n in range(7):
            mobile = "254711000222" if n % 2 else "254726770792"
            await take(service, inbound(n, mobile=mobile))
            clock.move(hours=1)
        await take(service, delivery("m", 1), token=TOKEN)

    def chosen(size: int, **wanted: Any) -> list[str]:
        with open_replay_reader(tmp_path / "receiver.db") as chronicle:
            chunks = list(chronicle.chunks(Selection(**wanted), size))
        assert all(len(chunk) <= size for chunk in chunks)
        events = [happened.event for chunk in chunks for happened in chunk]
        return [getattr(event.data, "external_id", "report") for event in events]

    for size in (1, 2, 3, 100):
        assert chosen(size) == [*map(str, range(7)), "report"]
        assert chosen(size, limit=4) == ["0", "1", "2", "3"]
        assert chosen(size, msisdn=OTHER) == ["1", "3", "5"]
        assert chosen(size, type_="sms.delivery.updated") == ["report"]
        assert chosen(size, source="text-connect") == []
        since, until = NOW + timedelta(hours=2), NOW + timedelta(hours=4)
        assert chosen(size, since=since, until=until) == ["2", "3"]


async def test_what_an_event_left_is_not_taken_for_anothers(tmp_path: Path) -> None:
    """Of events chosen with gaps between them, each has its own."""
    raw = doing("Flag(event.data.text)")
    bodies = (inbound(n, f"t{n}", mobile=f"25471100022{n % 2}") for n in range(6))
    await fill(tmp_path, raw, *bodies)
    every = judged(tmp_path, raw, msisdn="+254711000220")
    assert [one.differs for one in every] == [False] * 3
    chosen = {one.seq for one in every}
    with stored.snapshot(tmp_path / "receiver.db") as tx:
        assert effects_of(tx, min(chosen), max(chosen), chosen).keys() == chosen


async def test_a_store_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """None at all, none of ours, and one of an earlier version, which the service updates."""
    store = tmp_path / "receiver.db"
    for prepare, expected in (
        (lambda: None, "no such store"),
        (lambda: store.write_bytes(b"SQLite it is not" * 100), "not a database"),
    ):
        prepare()
        with pytest.raises(StoreUnusable, match=expected), open_replay_reader(store):
            pass
    store.unlink()
    async with open_store(store):
        pass
    stored.set_schema(store, 2)
    with pytest.raises(StoreUnusable, match="start the service once"), open_replay_reader(store):
        pass
    stored.set_application(store, 7)
    with pytest.raises(StoreUnusable, match="not a store"), open_replay_reader(store):
        pass


NUMBER = {"dest": "447786200000", "source": "447777777777", "auth": TOKEN}


def numbered() -> dict[str, Any]:
    """Text-Connect, whose messages are for a number; its words are about that number."""
    raw = rules()
    raw["sources"]["text-connect"] = {"provider": "text-connect", "tokens": [TOKEN]}
    raw["plugins"]["opt_out"] = {"scope": "short_code"}
    return raw


async def say(folder: Path, raw: dict[str, Any], *texts: str) -> None:
    """Somebody writes to the number, a minute apart."""
    clock = Clock()
    async with opened(folder, raw, clock=clock) as service:
        for id_, text in enumerate(texts, 1):
            body = urlencode({**NUMBER, "msg": text, "id": str(id_)}).encode()
            await take(service, body, source="text-connect")
            clock.move(minutes=1)


@pytest.mark.parametrize("again", [False, True])
async def test_an_old_start_does_not_lift_a_later_stop(tmp_path: Path, *, again: bool) -> None:
    """Whatever form the number has: what is stored is compared with what would be stored."""
    await say(tmp_path, numbered(), "START", "STOP")
    assert not any(one.differs or one.missing for one in judged(tmp_path, numbered()))
    await apply(tmp_path, numbered(), again=again)
    [line] = stored.opt_outs(tmp_path / "receiver.db")
    assert line.short_code == "+447786200000"


async def test_an_old_start_of_everything_does_not_lift_a_later_stop(tmp_path: Path) -> None:
    """A START that was missed takes back what stood then, and no STOP of one number since."""
    bare = {**numbered(), "plugins": {"enabled": []}}
    await say(tmp_path, bare, "START")
    async with opened(tmp_path, bare) as service:
        out = OptOut("+447777777777", "operator", "+447786200000")
        await opted_out(service.store, out, NOW + timedelta(minutes=5))
    wide = numbered()
    wide["plugins"]["opt_out"] = {"scope": "all"}
    outcome = await apply(tmp_path, wide)
    assert "a later opt-out or opt-in of the person stands" in outcome.failures[0]
    [line] = stored.opt_outs(tmp_path / "receiver.db")
    assert line.short_code == "+447786200000"


async def test_a_stop_that_was_missed_ends_what_was_before_it(tmp_path: Path) -> None:
    """And not what the person joined since: it counts from its own moment."""
    raw = rules()
    plugins = raw["plugins"]["enabled"]
    raw["plugins"]["enabled"] = ["subscriptions"]
    del raw["plugins"]["keyword_reply"]
    clock = Clock()
    who = {"mobile": "254726770792"}
    async with opened(tmp_path, raw, clock=clock) as service:
        await take(service, subscription("activation", "20261120110000", **who))
        await take(service, inbound(1, "STOP"))
        clock.move(hours=2)
        joined = subscription("activation", "20261120130000", **who, service_id="45")
        await take(service, joined)
    raw["plugins"]["enabled"] = plugins
    assert (await apply(tmp_path, raw)).counts["actions"] == 1
    book = stored.subscriptions(tmp_path / "receiver.db")
    assert [(line.service_id, line.state) for line in book] == [
        ("44", "inactive"),
        ("45", "active"),
    ]
    assert not any(one.added or one.gone for one in judged(tmp_path, raw))


async def test_an_end_that_an_earlier_version_wrote_is_no_difference(tmp_path: Path) -> None:
    """There a STOP asked for the end of each subscription by itself."""
    raw = rules()
    push = subscription("activation", "20261120110000", mobile="254726770792")
    ending = "Unsubscribe(msisdn=event.subject, short_code='22915', service_id='44')"
    earlier = (
        "from receiver.handlers import *\n@on_message(keyword='STOP', inline=True)\n"
        f"def mine(event, context):\n    return {ending}\n"
    )
    await fill(tmp_path, with_plugin(earlier, *raw["plugins"]["enabled"]), push, inbound(1, "STOP"))
    history = stored.subscription_history(tmp_path / "receiver.db")
    assert ("inactive", None) in [(step.state, step.reason) for step in history]
    assert not any(one.differs for one in judged(tmp_path, raw))
