"""What the writer makes of pushes: once, with one reply, and the same answer for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from receiver.config import StoreAddress
from receiver.errors import StoreUnavailable
from receiver.events import Status
from receiver.handlers import Forward, OptIn, OptOut, Reply, Send
from receiver.store import (
    HandlerActions,
    Job,
    ReplyState,
    Store,
    StoreResult,
    handler_results,
    message_reports,
    replies,
    to_micros,
)
from receiver.store.records import Report
from receiver.store.tx import Tx
from tests.harness import NOW
from tests.store.rows import PERSON, fail, finish, held, intake, opened, opted_out
from tests.store.sql import Refused, disk_full, look

pytestmark = pytest.mark.anyio


async def jobs(store: Store, **conditions: Any) -> list[Job]:
    """The background work there is."""
    return await store.reader.jobs(**conditions)


async def note(store: Store) -> str | None:
    """What a person should know about the only event."""
    return look(store.address, "SELECT note FROM events")[0][0]  # type: ignore[no-any-return] # text or NULL


# Once


async def test_a_repeat_gets_the_answer_of_the_first(address: StoreAddress) -> None:
    """The same id of the same source is stored once; the answer is the first one, byte for byte."""
    async with opened(address) as store:
        first = await store.take(intake(store, 1, answer=b"first \xff"))
        repeat = await store.take(intake(store, 1, answer=b"second"))
        assert (first.new, repeat.new) == (True, False)
        assert repeat.answer == b"first \xff"
        assert repeat.seq == first.seq
        assert look(store.address, "SELECT count(*) FROM events") == [(1,)]


async def test_sources_have_ids_of_their_own(address: StoreAddress) -> None:
    """The same id of another source is another event."""
    async with opened(address) as store:
        for source in ("tilil", "tilil-2"):
            assert (await store.take(intake(store, 1, source=source))).new


async def test_ids_keep_zeros_and_case(address: StoreAddress) -> None:
    """`7`, `07`, `a` and `A` are four ids."""
    async with opened(address) as store:
        for id_ in ("7", "07", "a", "A"):
            assert (await store.take(intake(store, id_))).new


async def test_a_repeat_is_known_after_a_restart(address: StoreAddress) -> None:
    """What tells repeats is on disk."""
    async with opened(address) as store:
        await store.take(intake(store, 1, answer=b"first"))
    async with opened(address) as store:
        repeat = await store.take(intake(store, 1, answer=b"second"))
        assert (repeat.new, repeat.answer) == (False, b"first")


async def test_a_repeat_asks_for_nothing_again(address: StoreAddress) -> None:
    """Actions, jobs and replies of a repeat are those of the first, not carried out anew."""
    async with opened(address) as store:
        for _ in range(3):
            handler_actions = [
                HandlerActions(handler="mine.rule", actions=(Send(to=PERSON, text="hello"),))
            ]
            row = intake(
                store,
                handler_actions=handler_actions,
                jobs=["mine.handler"],
                reply=Reply("karibu"),
                reply_in_answer=False,
            )
            await store.take(row)
        kinds = Counter(job.kind for job in await jobs(store))
        assert kinds == {"send": 2, "handle": 1}


@pytest.mark.parametrize("jobs", [[], ["mine.handler"]])
async def test_an_id_seen_before_is_stored_with_all_that_follows(
    address: StoreAddress, jobs: list[str]
) -> None:
    """In the commit of the first or later: its own number, answer, actions, jobs and repeats."""
    people = [PERSON, "+254711000001", "+254711000002"]
    state = ReplyState.OPEN if jobs else ReplyState.GIVEN

    async def push(store: Store) -> list[StoreResult]:
        rows = [
            intake(
                store,
                subject=person,
                sender=person,
                answer=person.encode(),
                handler_actions=[
                    HandlerActions(handler="mine.rule", actions=(Send(to=person, text="hi"),))
                ],
                jobs=jobs,
                state=state,
            )
            for person in people * 2
        ]
        async with held(store):
            waiting = [store.take(row) for row in rows]
        return await asyncio.gather(*waiting)

    async with opened(address) as store:
        first = await push(store)
        assert [taken.new for taken in first] == [True] * 3 + [False] * 3
        assert [taken.reused for taken in first] == [False, True, True] + [False] * 3
        again = await push(store)
        for taken in (first[3:], again[:3], again[3:]):
            assert [(one.seq, one.answer) for one in taken] == [
                (one.seq, one.answer) for one in first[:3]
            ]
            assert not any(one.new or one.jobs for one in taken)
        assert [one.answer.decode() for one in first] == people * 2
        assert [one.open for one in first] == [bool(jobs)] * 6
        assert [len(one.jobs) for one in first[:3]] == [len(jobs)] * 3
        assert {message.to for message in await store.reader.messages.find()} == set(people)
        assert len(look(store.address, "SELECT id FROM messages")) == 3


async def test_what_fails_beside_a_new_event_stores_nothing(
    address: StoreAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pushes of the batch are answered 503, and are new when they come again."""

    async def push(store: Store) -> list[StoreResult | BaseException]:
        rows = [intake(store, 1), intake(store, 1, text="other"), intake(store, 2)]
        async with held(store):
            waiting = [store.take(row) for row in rows]
        return await asyncio.gather(*waiting, return_exceptions=True)

    def fail(*_: object) -> None:
        raise disk_full(address)

    async with opened(address) as store:
        with monkeypatch.context() as patched:
            patched.setattr("receiver.store.repeats.judge", fail)
            assert [type(error) for error in await push(store)] == [StoreUnavailable] * 3
        taken = await push(store)
        assert [isinstance(one, StoreResult) and one.new for one in taken] == [True, True, True]
        assert look(store.address, "SELECT count(*) FROM events") == [(3,)]


async def test_an_event_comes_back_as_it_was(address: StoreAddress) -> None:
    """Times to the microsecond, the id, the data: all of it survives the store."""
    time = NOW - timedelta(days=3000, microseconds=1)
    async with opened(address) as store:
        taken = await store.take(intake(store, "007", time=time))
        stored = await store.reader.event(store.ids.text(taken.seq))
        assert stored is not None
        assert (stored.event.time, stored.event.receivedat) == (time, NOW)
        assert stored.event.id == store.ids.text(taken.seq)
        assert stored.event.source == "/sources/tilil"
        assert stored.event.subject == PERSON
        assert msgspec.to_builtins(stored.event.data)["external_id"] == "007"


# Replies of inline handlers


async def test_a_reply_in_the_answer_is_no_job(address: StoreAddress) -> None:
    """Where the provider takes the reply in its answer, nothing is sent besides."""
    async with opened(address) as store:
        row = intake(store, reply=Reply("karibu"), state=ReplyState.GIVEN, answer=b"karibu")
        assert (await store.take(row)).answer == b"karibu"
        assert await jobs(store) == []


async def test_a_reply_that_the_answer_cannot_carry_is_sent(address: StoreAddress) -> None:
    """It becomes a job with everything the send API needs: whom, from what, and the link."""
    async with opened(address) as store:
        await store.take(
            intake(store, 1, reply=Reply("karibu"), reply_in_answer=False, state=ReplyState.GIVEN)
        )
        (job,) = await jobs(store)
        assert (job.kind, job.handler, job.state) == ("send", "mine.rule", "due")
        (message,) = await store.reader.messages.find()
        assert (job.message, message.handler, message.source) == (message.id, "mine.rule", "tilil")
        assert (message.to, message.text, message.sender) == (PERSON, "karibu", "22915")
        assert (message.service_id, message.link_id) == ("32", "link-1")
        assert (message.state, message.status) == ("waiting", Status.QUEUED)


@pytest.mark.parametrize("in_answer", [True, False])
async def test_who_opted_out_gets_no_reply(address: StoreAddress, *, in_answer: bool) -> None:
    """The answer is the plain one, nothing is sent, and the event says why."""
    async with opened(address) as store:
        await opted_out(store, OptOut(PERSON, "STOP"), NOW)
        reply = Reply("karibu")
        taken = await store.take(
            intake(store, reply=reply, reply_in_answer=in_answer, answer=b"karibu")
        )
        repeat = await store.take(intake(store, reply=reply, answer=b"karibu"))
        assert taken.answer == repeat.answer == b"plain"
        assert await jobs(store) == []
        assert "opted out" in (await note(store) or "")


async def test_a_reply_heeds_an_opt_out_of_its_commit(address: StoreAddress) -> None:
    """The network's report of it, which names a message, comes together with the person's next."""

    def sent(tx: Tx) -> None:
        tx.execute("UPDATE messages SET state = 'sent', sender = '22915'")
        learned = message_reports.Learned("tilil", "x", 1, PERSON, to_micros(NOW))
        message_reports.learn(tx, [learned])

    async with opened(address) as store:
        await store.take(intake(store, 1, reply=Reply("hello"), reply_in_answer=False))
        await store.run(sent)
        report = Report(message_id="x", status=Status.DELIVERED, opted_out=True)
        async with held(store):
            heard = msgspec.structs.replace(intake(store, 2, subject=None), report=report)
            asked = intake(store, 3, reply=Reply("karibu"), answer=b"karibu")
            waiting = [store.take(asked), store.take(heard)]
        assert (await asyncio.gather(*waiting))[0].answer == b"plain"


async def test_an_opt_out_is_confirmed(address: StoreAddress) -> None:
    """The reply that says so goes out although the person has just opted out, again and again."""
    async with opened(address) as store:
        for n in range(2):
            handler_actions = [
                HandlerActions(handler="mine.rule", actions=(OptOut(PERSON, "STOP"),))
            ]
            reply = Reply("you are out", even_if_opted_out=True)
            row = intake(
                store, n, handler_actions=handler_actions, reply=reply, answer=b"you are out"
            )
            assert (await store.take(row)).answer == b"you are out"
        assert [entry.msisdn for entry in await store.reader.opt_outs.find()] == [PERSON]


async def test_an_opt_in_counts_for_its_own_reply(address: StoreAddress) -> None:
    """START is answered: who may be messaged is decided after what the message does."""
    async with opened(address) as store:
        await opted_out(store, OptOut(PERSON, "STOP"), NOW)
        handler_actions = [HandlerActions(handler="mine.rule", actions=(OptIn(PERSON, "START"),))]
        row = intake(
            store,
            handler_actions=handler_actions,
            reply=Reply("welcome back"),
            answer=b"welcome back",
        )
        assert (await store.take(row)).answer == b"welcome back"
        assert await store.reader.opt_outs.find() == []


# Replies of other handlers


async def test_a_reply_while_the_answer_is_open_becomes_part_of_it(address: StoreAddress) -> None:
    """It is in the answer of the event and of every repeat, and nothing is sent."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["mine.handler"], state=ReplyState.OPEN))
        assert taken.open
        assert await store.run(
            handler_results.finish,
            finish(taken.jobs[0], taken.seq, Reply("karibu"), answer=b"with karibu", last=True),
        )
        assert await store.run(replies.settle, taken.seq) == b"with karibu"
        repeat = await store.take(intake(store))
        assert (repeat.answer, repeat.open) == (b"with karibu", False)
        assert await jobs(store) == []


async def test_a_reply_after_the_answer_is_sent(address: StoreAddress) -> None:
    """Once the answer is settled a reply goes through the send API, with the link of the event."""
    async with opened(address) as store:
        taken = await store.take(intake(store, 7, jobs=["mine.handler"], state=ReplyState.OPEN))
        assert await store.run(replies.settle, taken.seq) == b"answer"
        await store.run(
            handler_results.finish,
            finish(taken.jobs[0], taken.seq, Reply("karibu"), answer=b"with karibu", last=True),
        )
        assert (await store.take(intake(store, 7))).answer == b"answer"
        (job,) = await jobs(store)
        assert job.kind == "send"
        (message,) = await store.reader.messages.find()
        assert (message.text, message.link_id) == ("karibu", "link-7")
        assert message.service_id == "32"


async def test_there_is_one_reply_to_an_event(address: StoreAddress) -> None:
    """Of all replies of all handlers, early and late, the first is given and no other."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["a", "b", "c"], state=ReplyState.OPEN))
        one, two, three = taken.jobs
        await store.run(
            handler_results.finish,
            finish(one, taken.seq, Reply("first"), Reply("other"), answer=b"first", last=False),
        )
        await store.run(
            handler_results.finish, finish(two, taken.seq, Reply("second"), answer=b"second")
        )
        assert await store.run(replies.settle, taken.seq) == b"first"
        await store.run(
            handler_results.finish,
            finish(three, taken.seq, Reply("third"), answer=b"third", last=True),
        )
        assert await store.run(replies.settle, taken.seq) == b"first"
        assert await jobs(store) == []


async def test_an_empty_reply_keeps_others_from_answering(address: StoreAddress) -> None:
    """A handler that answers with silence has answered."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["a", "b"], state=ReplyState.OPEN))
        await store.run(
            handler_results.finish, finish(taken.jobs[0], taken.seq, Reply(""), answer=b"")
        )
        await store.run(
            handler_results.finish,
            finish(taken.jobs[1], taken.seq, Reply("second"), answer=b"second"),
        )
        assert await store.run(replies.settle, taken.seq) == b"answer"
        assert await jobs(store) == []


async def test_a_late_reply_to_who_opted_out_is_withheld(address: StoreAddress) -> None:
    """Whoever opts out while a handler works gets nothing any more, and no other reply either."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["a", "b"], state=ReplyState.OPEN))
        await opted_out(store, OptOut(PERSON, "STOP"), NOW)
        await store.run(
            handler_results.finish,
            finish(taken.jobs[0], taken.seq, Reply("karibu"), answer=b"karibu"),
        )
        await store.run(
            handler_results.finish,
            finish(taken.jobs[1], taken.seq, Reply("second"), answer=b"second"),
        )
        assert await store.run(replies.settle, taken.seq) == b"answer"
        assert await jobs(store) == []
        assert "opted out" in (await note(store) or "")


@pytest.mark.parametrize("again", [False, True])
async def test_a_late_confirmation_tells_of_a_change_or_nothing(
    address: StoreAddress, *, again: bool
) -> None:
    """A handler that opts somebody out a second time confirms nothing, also after the answer."""
    async with opened(address) as store:
        if again:
            await opted_out(store, OptOut(PERSON, "STOP"), NOW)
        taken = await store.take(intake(store, 1, state=ReplyState.OPEN, jobs=["mine.handler"]))
        said = Reply("you are out", even_if_opted_out=True, if_changed=True)
        asked = (OptOut(PERSON, "STOP"), said)
        done = finish(taken.jobs[0], taken.seq, *asked, answer=b"out", last=True)
        await store.run(handler_results.finish, done)
        assert await store.run(replies.settle, taken.seq) == (b"answer" if again else b"out")
        assert not await store.reader.messages.find()


async def test_answers_that_a_crash_left_open_are_settled(address: StoreAddress) -> None:
    """After a restart nobody waits for them: replies go through the send API from then on."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["mine.handler"], state=ReplyState.OPEN))
    async with opened(address) as store:
        await store.run(replies.settle_all, 0, 1)
        repeat = await store.take(intake(store))
        assert (repeat.answer, repeat.open) == (b"answer", False)
        await store.run(
            handler_results.finish, finish(taken.jobs[0], taken.seq, Reply("karibu"), last=True)
        )
        assert [job.kind for job in await jobs(store)] == ["send"]


# What handlers ask for


async def test_effects_are_committed_with_the_mark(address: StoreAddress) -> None:
    """When an action cannot be carried out none is, and the work is still there to be done."""
    bad: Any = OptOut(None, "x")  # type: ignore[arg-type] # what the store itself refuses
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["mine.handler"], state=ReplyState.OPEN))
        with pytest.raises(Refused):
            await store.run(
                handler_results.finish,
                finish(taken.jobs[0], taken.seq, OptOut("+1", "x"), bad, Send(to="+1", text="x")),
            )
        assert await store.reader.opt_outs.find() == []
        assert [(job.kind, job.id) for job in await jobs(store)] == [("handle", taken.jobs[0])]


async def test_work_ends_once(address: StoreAddress) -> None:
    """Whoever finishes a job a second time changes nothing."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["mine.handler"]))
        wish = Send(to="+254711000000", text="hello")
        assert await store.run(handler_results.finish, finish(taken.jobs[0], taken.seq, wish))
        assert not await store.run(handler_results.finish, finish(taken.jobs[0], taken.seq, wish))
        assert [job.kind for job in await jobs(store)] == ["send"]


async def test_sends_and_forwards_become_jobs(address: StoreAddress) -> None:
    """They name who asked for them and the event they came of."""
    actions = (Send(to="+254711000000", text="hello"), Forward(url="https://example.com/in"))
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["mine.handler"]))
        await store.run(handler_results.finish, finish(taken.jobs[0], taken.seq, *actions))
        found = await jobs(store)
        assert [(job.kind, job.handler, job.event) for job in found] == [
            ("send", "mine.handler", taken.seq),
            ("forward", "mine.handler", taken.seq),
        ]
        (message,) = await store.reader.messages.find()
        assert (message.id, message.source) == (found[0].message, "tilil")
        assert (message.to, message.text) == ("+254711000000", "hello")
        url = "https://example.com/in"
        assert found[1].payload == {"type": "forward", "url": url, "target": None}


# Jobs


async def test_a_failed_job_is_due_later_and_then_dead(address: StoreAddress) -> None:
    """Attempts count up; without another time to try it is a dead letter with its error."""
    later = NOW + timedelta(minutes=5)
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["mine.handler"]))
        (job,) = taken.jobs
        await fail(store, job, later, "ValueError: no")
        (failed,) = await jobs(store)
        assert (failed.state, failed.attempts, failed.due_at) == ("due", 1, later)
        assert await jobs(store, due=NOW) == []
        await fail(store, job, None, "ValueError: still no")
        (dead,) = await jobs(store, state="dead")
        assert (dead.attempts, dead.error) == (2, "ValueError: still no")


async def test_dead_jobs_come_back_on_demand(address: StoreAddress) -> None:
    """One of them or all, with their attempts forgotten; what is not dead stays as it is."""
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=["a", "b", "c", "d"]))
        for job in taken.jobs[:3]:
            await fail(store, job, None, "no")
        assert await store.revive(taken.jobs[0], NOW) == 1
        assert await store.revive(taken.jobs[3], NOW) == 0
        assert await store.revive(None, NOW) == 2
        assert await jobs(store, state="dead") == []
        assert {job.attempts for job in await jobs(store, state="due")} == {0}


async def test_times_are_exact() -> None:
    """Microseconds since 1970 go to the store and come back unrounded."""
    assert to_micros(NOW) == 1795165200123456
