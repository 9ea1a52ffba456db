"""Handlers after their event is stored: in order, side by side, retried, not twice, not lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from receiver.config import LoopGuard
from receiver.events import Event, Message
from receiver.handlers import MARK, Context, Flag, HandlerError, OptOut, Reply, Send, on_message
from receiver.jobs import handle as workers_module
from receiver.jobs import runner as runner_module
from receiver.jobs.handle import TIMEOUT, Workers, running
from receiver.jobs.runner import Runner
from receiver.plugin_host import runner as handler_loop
from receiver.plugin_host.dispatch import PAUSES, BoundHandler, Dispatcher
from receiver.plugin_host.loop_guard import Guard
from receiver.store import HandleJob, Job, ReplyState, Store, StoredPush, handler_results
from receiver.supervision.supervisor import Supervisor
from tests import stored
from tests.harness import Clock, until_async
from tests.store.rows import PERSON, finish, intake, opened
from tests.stored import file_of

GUARD = Guard(LoopGuard(enabled=False), ())

pytestmark = pytest.mark.anyio

Function = Callable[..., Any]


class Bench:
    """Workers with these handlers on a store of their own, and events to give them."""

    def __init__(
        self, store: Store, workers: Workers, dispatcher: Dispatcher, clock: Clock
    ) -> None:
        self.store = store
        self.workers = workers
        self.dispatcher = dispatcher
        self.clock = clock

    async def give(self, id_: object, *, subject: str = PERSON) -> asyncio.Future[None]:
        """Stores a message for all handlers and hands it over, as the intake does."""
        names = list(self.dispatcher.by_name)
        row = intake(self.store, id_, subject=subject, jobs=names, state=ReplyState.OPEN)
        taken = await self.store.take(replace(row, owner=self.workers.claims))
        jobs = [
            (job, self.dispatcher.by_name[name])
            for job, name in zip(taken.jobs, names, strict=True)
        ]
        answers = self.workers.answers
        answer = answers.expect(taken.seq)
        answer.ask(len(jobs), acknowledge)
        answer.handled.add_done_callback(lambda _: answers.give_up(taken.seq))
        if taken.claimed:
            self.workers.submit(event_of(self.store, row), taken.seq, jobs, None)
        return answer.handled

    async def jobs(self, **conditions: Any) -> list[Job]:
        """The background work that is left."""
        return await self.store.reader.jobs(**conditions)

    async def idle(self) -> None:
        """Returns when nothing is under way."""

        async def nothing_held() -> bool:
            return not self.workers.held

        await until_async(nothing_held, "nothing held")

    async def done(self) -> None:
        """Returns when nothing is due or under way any more."""

        async def idle() -> bool:
            left = await self.jobs(state="due", kind="handle", due=self.clock())
            return not left and not self.workers.held

        await until_async(idle, "all work done")


def event_of(store: Store, row: StoredPush) -> Event[Message]:
    """The event of a row."""
    message = Message(external_id=row.row.key.removeprefix("message:"), from_=PERSON)
    return Event(
        id=store.ids.text(row.row.seq),
        source="/sources/tilil",
        type=row.row.type,
        time=Clock().now,
        subject=row.row.subject,
        provider="tilil",
        receivedat=Clock().now,
        data=message,
    )


def acknowledge(reply: str) -> bytes:
    """The answer with a reply in it."""
    return f"answer: {reply}".encode()


def bound(function: Function) -> BoundHandler:
    """A function as the handler `mine.{its name}`."""
    handler = getattr(function, MARK, None) or getattr(on_message()(function), MARK)
    return BoundHandler.of("mine", handler, Context(plugin="mine", settings=None, state=None))


@asynccontextmanager
async def bench(
    folder: Path, *functions: Function, clock: Clock | None = None, patience: float = TIMEOUT
) -> AsyncIterator[Bench]:
    """Workers for these handlers."""
    clock = clock or Clock()
    dispatcher = Dispatcher(map(bound, functions))
    async with (
        opened(folder) as store,
        started(store, clock) as runner,
        running(runner, dispatcher, GUARD) as workers,
    ):
        workers._timeout = patience
        yield Bench(store, workers, dispatcher, clock)


@asynccontextmanager
async def started(store: Store, clock: Clock) -> AsyncIterator[Runner]:
    """A runner that looks without much pause."""
    runner = Runner(store, clock, Supervisor(), look=0.01)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


def id_of(event: Event[Message]) -> str:
    """The provider's id."""
    return event.data.external_id


# Order


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_one_persons_messages_come_in_order(tmp_path: Path, kind: str) -> None:
    """Each is handled after the one before is done, however long that takes."""
    seen: list[str] = []
    inside = 0

    async def patiently(event: Event[Message], context: object) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(0.01 if id_of(event) == "0" else 0)
        seen.append(id_of(event))
        inside -= 1

    def in_thread(event: Event[Message], context: object) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        seen.append(id_of(event))
        inside -= 1

    function = patiently if kind == "async def" else in_thread
    async with bench(tmp_path, function) as work:
        for n in range(30):
            await work.give(n)
        await work.done()
        assert seen == [str(n) for n in range(30)]


async def test_several_handlers_see_a_message_in_their_order(tmp_path: Path) -> None:
    """All of them see the first message before any sees the second."""
    seen: list[str] = []

    async def a(event: Event[Message], context: object) -> None:
        seen.append(f"a{id_of(event)}")

    def b(event: Event[Message], context: object) -> None:
        seen.append(f"b{id_of(event)}")

    async with bench(tmp_path, a, b) as work:
        for n in range(3):
            await work.give(n)
        await work.done()
        assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


async def test_people_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """While one person's handler hangs, everybody else's messages are handled."""
    go_on = threading.Event()

    async def hangs(event: Event[Message], context: object) -> None:
        if event.subject == PERSON:
            await asyncio.to_thread(go_on.wait, 30)

    async with bench(tmp_path, hangs) as work:
        slow = await work.give("slow")
        after = await work.give("after")
        others = [await work.give(n, subject=f"+25471100000{n}") for n in range(5)]
        await asyncio.wait_for(asyncio.gather(*others), 30)
        assert not slow.done()
        assert not after.done()
        go_on.set()
        await asyncio.wait_for(after, 30)


async def test_a_failure_does_not_hold_up_the_next_message(tmp_path: Path) -> None:
    """What failed comes again later; what came after it is handled now."""
    seen: list[str] = []

    async def fails_once(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))
        if seen == ["0"]:
            raise ValueError("not yet")

    clock = Clock()
    async with bench(tmp_path, fails_once, clock=clock) as work:
        await work.give(0)
        await work.give(1)
        await work.done()
        assert seen == ["0", "1"]
        clock.move(hours=1)
        await work.done()
        assert seen == ["0", "1", "0"]


async def test_a_handler_says_if_it_is_tried_again(tmp_path: Path) -> None:
    """And when at the earliest; its words are the reason, without the name of a class."""

    async def knows(event: Event[Message], context: object) -> None:
        for_good = id_of(event) == "0"
        raise HandlerError(
            "refused" if for_good else "busy", retryable=not for_good, retry_after=600.0
        )

    clock = Clock()
    async with bench(tmp_path, knows, clock=clock) as work:
        await work.give(0)
        await work.give(1)
        await work.idle()
        final, put_off = sorted(await work.jobs(), key=lambda job: job.state)
        assert (final.state, final.error, final.attempts) == ("dead", "refused", 1)
        assert (put_off.state, put_off.error) == ("due", "busy")
        assert put_off.due_at == clock.now + timedelta(seconds=600)


# Where they run


async def test_handlers_run_beside_the_service(tmp_path: Path) -> None:
    """`async def` on a loop of another thread, all on the same; `def` in threads of their own."""
    where: dict[str, object] = {}

    async def one(event: object, context: object) -> None:
        where["one"] = threading.current_thread(), asyncio.get_running_loop()

    async def two(event: object, context: object) -> None:
        where["two"] = threading.current_thread(), asyncio.get_running_loop()

    def three(event: object, context: object) -> None:
        where["three"] = threading.current_thread()

    async with bench(tmp_path, one, two, three) as work:
        await work.give(1)
        await work.done()
    assert where["one"] == where["two"]
    assert isinstance(where["one"], tuple)
    threads = {threading.current_thread(), where["one"][0], where["three"]}
    assert len(threads) == 3


async def test_a_blocking_handler_does_not_stop_the_loop(tmp_path: Path) -> None:
    """`time.sleep` and the like in an `async def` hold up no answer."""
    blocked, go_on = threading.Event(), threading.Event()

    async def blocks(event: object, context: object) -> None:
        blocked.set()
        assert go_on.wait(30)

    async with bench(tmp_path, blocks) as work:
        await work.give(1)
        await asyncio.to_thread(blocked.wait, 30)
        for n in range(2, 20):
            assert (await work.store.take(intake(work.store, n))).new
        go_on.set()
        await work.done()


async def test_who_blocks_the_others_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an `async def` blocks the handlers' loop the log says which, and when it is over."""
    monkeypatch.setattr(handler_loop, "WATCH_PAUSE", 0.01)
    monkeypatch.setattr(handler_loop, "STANDSTILL", 0.05)
    monkeypatch.setattr(handler_loop, "LOOKS", 10_000)
    go_on = threading.Event()

    async def blocks(event: object, context: object) -> None:
        assert go_on.wait(30)

    async def said(sentence: str) -> bool:
        return [line["handler"] for line in lines if line["event"] == sentence] == ["mine.blocks"]

    with capture_logs() as lines:
        async with bench(tmp_path, blocks) as work:
            await work.give(1)
            await until_async(lambda: said("a handler blocks the others"), "named")
            go_on.set()
            await until_async(lambda: said("the handlers go on"), "over")
            await work.done()


# What they ask for


async def test_a_reply_resolves_the_answer(tmp_path: Path) -> None:
    """The answer need not wait for handlers after the one that replied."""
    go_on = threading.Event()

    async def replies(event: object, context: object) -> str:
        return "karibu"

    async def slow(event: object, context: object) -> str:
        await asyncio.to_thread(go_on.wait, 30)
        return "too late"

    async with bench(tmp_path, replies, slow) as work:
        await asyncio.wait_for(await work.give(1), 30)
        assert stored.event(work.store.address, 1).answer == b"answer: karibu"
        go_on.set()
        await work.done()
        assert stored.event(work.store.address, 1).answer == b"answer: karibu"
        assert await work.jobs() == []


async def test_all_silent_handlers_resolve_the_answer(tmp_path: Path) -> None:
    """When the last has said nothing, the answer is the plain one, at once."""

    async def silent(event: object, context: object) -> None:
        pass

    def silent_too(event: object, context: object) -> list[object]:
        return []

    async with bench(tmp_path, silent, silent_too) as work:
        await asyncio.wait_for(await work.give(1), 30)
        event = stored.event(work.store.address, 1)
        assert (event.answer, event.reply) == (b"answer", ReplyState.NONE)


async def test_effects_are_committed_with_the_end_of_the_work(tmp_path: Path) -> None:
    """What a handler asks for is in the store, and its job is not."""

    def asks(event: Event[Message], context: object) -> list[object]:
        return [OptOut(PERSON, "because"), Send(to="+254711000000", text="hello"), "bye"]

    async with bench(tmp_path, asks) as work:
        await asyncio.wait_for(await work.give(1), 30)
        await work.done()
        assert [entry.reason for entry in await work.store.reader.opt_outs.find()] == ["because"]
        assert [job.kind for job in await work.jobs()] == ["send"]


async def test_each_handler_runs_once(tmp_path: Path) -> None:
    """However often the store is looked through for work meanwhile, nothing is done twice."""
    seen: list[str] = []

    async def counts(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))

    async with bench(tmp_path, counts) as work:
        people = [f"+2547110000{n:02}" for n in range(20)]
        await asyncio.gather(*(work.give(n, subject=people[n % 20]) for n in range(100)))
        await work.done()
        assert sorted(seen, key=int) == [str(n) for n in range(100)]


# Failing


async def raises(event: object, context: object) -> None:
    """Raises."""
    raise ValueError("my fault")


def raises_in_thread(event: object, context: object) -> None:
    """Raises in a thread."""
    raise ValueError("my fault")


async def exits(event: object, context: object) -> None:
    """Would end the program."""
    raise SystemExit(3)


def exits_in_thread(event: object, context: object) -> None:
    """Would end the program, from a thread."""
    raise SystemExit(3)


async def cancels(event: object, context: object) -> None:
    """Behaves as if it were cancelled."""
    raise asyncio.CancelledError


def stops_iteration(event: object, context: object) -> None:
    """Raises what futures refuse to carry."""
    raise StopIteration


def times_out(event: object, context: object) -> None:
    """Has waited too long for something of its own."""
    raise TimeoutError("the ledger is asleep")


def returns_a_number(event: object, context: object) -> int:
    """Returns what nobody understands."""
    return 5


def returns_no_text(event: object, context: object) -> Reply:
    """Returns a reply that is none."""
    return Reply("\ud800")


def opts_out_nobody(event: object, context: object) -> OptOut:
    """Returns an action that cannot be stored."""
    return OptOut(None)  # type: ignore[arg-type] # the point


async def leaves_a_generator(event: object, context: object) -> None:
    """Raises what ends a generator."""
    raise GeneratorExit


def interrupts_in_thread(event: object, context: object) -> None:
    """Raises what Ctrl-C does."""
    raise KeyboardInterrupt


async def says_half_a_character(event: object, context: object) -> None:
    """Raises an error whose text has no place in UTF-8."""
    raise ValueError("half \ud800 a character")


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


def says_nothing(event: object, context: object) -> None:
    """Raises an error that fails to tell its text."""
    raise Mute


def flags_half_a_character(event: object, context: object) -> Flag:
    """Returns a reason that cannot be stored."""
    return Flag("\ud800")


FAILING = {
    leaves_a_generator: "RuntimeError: it raised GeneratorExit()",
    interrupts_in_thread: "RuntimeError: it raised KeyboardInterrupt()",
    says_half_a_character: "ValueError: half ? a character",
    says_nothing: "Mute: (it cannot say what)",
    flags_half_a_character: "UnicodeEncodeError: ",
    raises: "ValueError: my fault",
    raises_in_thread: "ValueError: my fault",
    exits: "RuntimeError: it raised SystemExit(3)",
    exits_in_thread: "RuntimeError: it raised SystemExit(3)",
    cancels: "RuntimeError: it cancelled itself",
    stops_iteration: "RuntimeError: coroutine raised StopIteration",
    times_out: "TimeoutError: the ledger is asleep",
    returns_a_number: "TypeError: ",
    returns_no_text: "UnicodeEncodeError: ",
    opts_out_nobody: "ValidationError: ",
}


@pytest.mark.parametrize("function", FAILING)
async def test_a_handler_that_fails_is_tried_again_and_then_dead(
    tmp_path: Path, function: Function
) -> None:
    """Its job stays visible with the error; the answer does not wait, other work goes on."""
    seen: list[str] = []

    async def good(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))

    clock = Clock()
    async with bench(tmp_path, function, good, clock=clock) as work:
        await asyncio.wait_for(await work.give(1), 30)
        await work.done()
        assert seen == ["1"]
        (job,) = await work.jobs()
        assert (job.state, job.attempts) == ("due", 1)
        assert (job.error or "").startswith(FAILING[function])
        for attempt in range(2, len(PAUSES) + 2):
            clock.move(days=1)
            await work.done()
            (job,) = await work.jobs()
            assert job.attempts == attempt
        assert job.state == "dead"
        clock.move(days=30)
        await work.done()
        assert await work.jobs(state="dead") == [job]
        await work.give(2)
        await work.done()
        assert seen == ["1", "2"]


async def test_a_lane_survives_what_the_store_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not even a failure can be noted, the person's next message is handled all the same."""
    seen: list[str] = []

    async def fails_once(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))
        if seen == ["0"]:
            raise ValueError("no")

    async def refuses(*_: object, **__: object) -> None:
        raise ValueError("not this")

    async with bench(tmp_path, fails_once) as work:
        monkeypatch.setattr(work.workers.runner, "fail", refuses)
        await work.give(0)
        await asyncio.wait_for(await work.give(1), 30)
        assert seen == ["0", "1"]
        await work.idle()


@pytest.mark.parametrize("order", [SystemExit, KeyboardInterrupt])
async def test_a_task_of_a_plugin_cannot_end_the_handlers(
    tmp_path: Path, order: type[BaseException]
) -> None:
    """What it leaves running may raise what it likes; handlers go on, and the log says so."""
    tasks: list[asyncio.Task[None]] = []

    async def forsaken() -> None:
        raise order

    async def begins(event: Event[Message], context: object) -> str:
        tasks.append(asyncio.create_task(forsaken()))
        await asyncio.wait(tasks)
        return "karibu"

    with capture_logs() as lines:
        async with bench(tmp_path, begins) as work:
            for n in range(3):
                await asyncio.wait_for(await work.give(n), 30)
            await work.done()
            assert await work.jobs(kind="handle") == []
    for task in tasks:
        assert isinstance(task.exception(), order)
    said = [line["event"] for line in lines]
    assert said.count("a plugin's task would end the program") == 3


async def test_an_event_that_cannot_be_read_stops_no_other_work(tmp_path: Path) -> None:
    """Its work is a dead letter that says so; what comes after it is found."""
    seen: list[str] = []

    async def counts(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))

    async with opened(tmp_path) as store:
        for n in range(3):
            push = intake(store, n, jobs=["mine.counts"])
            row = replace(push.row, data=b"{") if n == 1 else push.row
            await store.take(replace(push, row=row))
    async with bench(tmp_path, counts) as work:
        await work.done()
        assert seen == ["0", "2"]
        (job,) = await work.jobs()
        assert (job.state, (job.error or "")[:26]) == ("dead", "its event cannot be read: ")


async def test_a_dead_job_can_be_retried(tmp_path: Path) -> None:
    """Revived, it is tried at once, with all its attempts again."""
    broken = True

    async def fails(event: object, context: object) -> str:
        if broken:
            raise ValueError("no")
        return "karibu"

    clock = Clock()
    async with bench(tmp_path, fails, clock=clock) as work:
        await work.give(1)
        for _ in range(len(PAUSES) + 1):
            await work.done()
            clock.move(days=1)
        assert [job.state for job in await work.jobs()] == ["dead"]
        broken = False
        assert await work.store.revive(None, clock()) == 1
        await work.done()
        (job,) = await work.jobs()
        (message,) = await work.store.reader.messages.find()
        assert (job.kind, job.message, message.text) == ("send", message.id, "karibu")


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_handler_that_hangs_is_given_up(tmp_path: Path, kind: str) -> None:
    """After its time it counts as failed, and the person's next message is handled."""
    go_on = threading.Event()
    seen: list[str] = []

    async def hangs(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))
        if id_of(event) == "0":
            await asyncio.Event().wait()

    def hangs_in_thread(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))
        if id_of(event) == "0":
            go_on.wait(30)

    function = hangs if kind == "async def" else hangs_in_thread
    async with bench(tmp_path, function, patience=0.2) as work:
        await work.give(0)
        await asyncio.wait_for(await work.give(1), 30)
        (job,) = await work.jobs()
        assert (job.attempts, job.error) == (1, "TimeoutError: took longer than 0.2 s")
        assert seen == ["0", "1"]
        go_on.set()


async def test_hanging_threads_are_bounded(tmp_path: Path) -> None:
    """When too many handlers hang for ever, more are not tried until some return."""
    go_on = threading.Event()

    def hangs(event: object, context: object) -> None:
        go_on.wait(60)

    most = handler_loop.MOST_THREADS
    async with bench(tmp_path, hangs, patience=0.01) as work, AsyncExitStack() as stack:
        stack.callback(go_on.set)
        given = [await work.give(n, subject=f"+25471{n:07}") for n in range(most + 10)]
        await asyncio.wait_for(asyncio.gather(*given), 60)
        errors = [job.error or "" for job in await work.jobs()]
        assert sum("handlers hang in their threads" in error for error in errors) == 10


# After a crash


async def test_unfinished_work_runs_after_a_restart(tmp_path: Path) -> None:
    """What nobody finished is found in the store and done, in order; what was finished is not."""
    seen: list[str] = []

    async def counts(event: Event[Message], context: object) -> str:
        seen.append(id_of(event))
        return "late"

    async with opened(tmp_path) as store:
        taken = [
            await store.take(intake(store, n, jobs=["mine.counts"], state=ReplyState.OPEN))
            for n in range(10)
        ]
        await store.run(handler_results.finish, finish(taken[3].jobs[0], taken[3].seq))
    async with bench(tmp_path, counts) as work:
        await work.done()
        assert seen == [str(n) for n in range(10) if n != 3]
        sent = await work.store.reader.messages.find()
        assert [message.link_id for message in reversed(sent)] == [
            f"link-{n}" for n in range(10) if n != 3
        ]
    async with bench(tmp_path, counts) as work:
        await work.done()
    assert len(seen) == 9


async def test_what_ends_the_process_each_time_becomes_dead(tmp_path: Path) -> None:
    """Attempts are counted before they are made, so poison is not taken for ever."""
    go_on = threading.Event()
    seen = 0

    async def poison(event: object, context: object) -> None:
        nonlocal seen
        seen += 1
        await asyncio.to_thread(go_on.wait, 30)

    async with opened(tmp_path) as store:
        await store.take(intake(store, jobs=["mine.poison"]))
    for attempt in range(1, len(PAUSES) + 2):
        async with bench(tmp_path, poison) as work:

            async def counted(work: Bench = work, attempt: int = attempt) -> bool:
                (job,) = await work.jobs()
                return job.attempts == attempt and seen == attempt

            await until_async(counted, "an attempt")
            work.workers.runner.owner = 0  # as if the process ended here: nothing is handed back
            for task in list(work.workers.tasks):
                task.cancel()
    async with bench(tmp_path, poison) as work:
        await work.done()
        (job,) = await work.jobs()
        assert job.state == "dead"
        assert "under way each time the process ended" in (job.error or "")
    assert seen == len(PAUSES) + 1
    go_on.set()


async def test_work_that_cannot_be_committed_is_committed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store takes nothing, handlers' results are kept, and nothing is done twice."""
    monkeypatch.setattr(runner_module, "STORE_PAUSE", 0.01)
    seen: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    async def counts(event: Event[Message], context: object) -> str:
        seen.append(id_of(event))
        begun.set()
        await asyncio.to_thread(go_on.wait, 30)
        return "karibu"

    async with bench(tmp_path, counts) as work:
        elsewhere = file_of(work.store).with_name("elsewhere")
        waiting = await work.give(1)
        await asyncio.to_thread(begun.wait, 30)
        file_of(work.store).rename(elsewhere)
        await until_async(work.store.check, "trouble")
        go_on.set()
        with capture_logs() as lines:

            async def kept() -> bool:
                said = [line["event"] for line in lines]
                return "cannot store the result of work" in said

            await until_async(kept, "a try to store it")
            assert not waiting.done()
            elsewhere.rename(file_of(work.store))
            await asyncio.wait_for(waiting, 30)
        await work.done()
        assert await work.jobs() == []
        assert seen == ["1"]


async def test_work_for_a_handler_that_is_gone_is_dead(tmp_path: Path) -> None:
    """A plugin that was removed leaves dead letters that name it, not a loop."""
    async with opened(tmp_path) as store:
        await store.take(intake(store, jobs=["gone.handler"]))
    async with bench(tmp_path) as work:

        async def dead() -> list[Job]:
            return await work.jobs(state="dead")

        (job,) = await until_async(dead, "dead")
        assert job.handler == "gone.handler"
        assert job.error == "no such handler is enabled"


async def test_inline_handlers_that_failed_are_retried_from_the_store(tmp_path: Path) -> None:
    """Their job is due only after a pause, also for a restarted service."""
    seen: list[str] = []

    def rule(event: Event[Message], context: object) -> str:
        seen.append(id_of(event))
        return "karibu"

    clock = Clock()
    due = int((clock().timestamp() + 5) * 1e6)
    async with bench(tmp_path, rule, clock=clock) as work:
        failed = HandleJob(handler="mine.rule", attempts=1, due_at=due, error="no")
        row = intake(work.store, 1)
        await work.store.take(StoredPush(row=row.row, plain_answer=b"plain", jobs=(failed,)))
        await work.done()
        assert seen == []
        clock.move(seconds=6)
        await work.done()
        assert seen == ["1"]
        assert [job.kind for job in await work.jobs()] == ["send"]


# Bounds


async def test_what_is_too_much_for_memory_waits_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the backlog (here a small one) nothing is held, lost, or done out of order."""
    monkeypatch.setattr(workers_module, "BACKLOG", 5)
    go_on = threading.Event()
    seen: dict[str, list[int]] = {}

    async def counts(event: Event[Message], context: object) -> None:
        await asyncio.to_thread(go_on.wait, 30)
        seen.setdefault(event.subject or "", []).append(int(id_of(event)))

    async with bench(tmp_path, counts) as work:
        people = [f"+25471100000{n}" for n in range(3)]
        for n in range(300):
            await work.give(n, subject=people[n % 3])
            if n > 30:
                go_on.set()
            assert work.workers.held <= 5 + 1  # that had been promised room
        await work.done()
    assert seen == {person: list(range(n, 300, 3)) for n, person in enumerate(people)}


async def test_what_was_left_in_the_store_is_not_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes behind work that waits there waits too, though it was to begin at once."""
    monkeypatch.setattr(workers_module, "BACKLOG", 2)
    go_on = threading.Event()
    seen: list[str] = []

    async def counts(event: Event[Message], context: object) -> None:
        await asyncio.to_thread(go_on.wait, 30)
        seen.append(id_of(event))

    async with bench(tmp_path, counts) as work:
        for n in range(3):
            await work.give(n)
        assert work.workers.claims == 0
        monkeypatch.setattr(Workers, "claims", work.workers.runner.owner)  # as there was room then
        await work.give(3)
        assert work.workers.held == 2
        go_on.set()
        await work.done()
        assert seen == ["0", "1", "2", "3"]


async def test_stopping_leaves_what_is_not_done_in_the_store(tmp_path: Path) -> None:
    """Running handlers get a moment; what waits behind them is not begun."""
    entered, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    async def slow(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))
        entered.set()
        await asyncio.to_thread(go_on.wait, 30)

    async with bench(tmp_path, slow) as work:
        await work.give(1)
        await work.give(2)
        await asyncio.to_thread(entered.wait, 30)
        path = work.store.address
        asyncio.get_running_loop().call_soon(go_on.set)  # when the end has begun
    assert seen == ["1"]
    assert stored.claims(path) == {}
    assert [job.attempts for job in stored.jobs(path)] == [0]


@pytest.mark.parametrize("known", [False, True])
async def test_what_is_claimed_and_not_begun_is_not_overtaken(
    tmp_path: Path, *, known: bool
) -> None:
    """Its commit seemed to fail, or nobody waited for it any more: nothing new begins before."""
    seen: list[str] = []

    async def counts(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))

    async with bench(tmp_path, counts) as work:
        runner = work.workers.runner
        lost = intake(work.store, 1, jobs=["mine.counts"], state=ReplyState.OPEN)
        taken = await work.store.take(replace(lost, owner=work.workers.claims))
        assert taken.claimed  # and nobody here knows
        if known:
            runner.give_back(taken.jobs)
        else:
            runner.doubt([taken.seq])
        assert work.workers.claims == 0
        await work.give(2)
        await work.done()
        assert work.workers.claims == runner.owner
    assert seen == ["1", "2"]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("step", ["due", "claim"])
async def test_what_a_look_found_does_not_overtake_what_waits_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, known: bool
) -> None:
    """It found a later message of the person, which another receiver stored, before that."""
    seen: list[str] = []
    found, go_on = asyncio.Event(), asyncio.Event()

    async def counts(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))

    async with bench(tmp_path, counts) as work:
        runner, store = work.workers.runner, work.store
        do = getattr(runner, step)

        async def slowly(*arguments: object) -> Any:
            result = await do(*arguments)
            if result:
                found.set()
                await go_on.wait()
            return result

        monkeypatch.setattr(runner, step, slowly)
        first, second = (
            intake(store, n, jobs=["mine.counts"], state=ReplyState.OPEN) for n in (1, 2)
        )
        taken = await store.take(replace(first, owner=work.workers.claims))
        await store.take(second)
        await found.wait()
        if known:
            runner.give_back(taken.jobs)
        else:
            runner.doubt([taken.seq])
        go_on.set()
        await work.done()
    assert seen == ["1", "2"]


async def test_what_is_being_claimed_at_a_stop_does_not_overtake_what_is_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait in the store afterwards, for whoever goes on."""
    seen: list[str] = []
    found, go_on, done = asyncio.Event(), asyncio.Event(), threading.Event()

    async def slow(event: Event[Message], context: object) -> None:
        seen.append(id_of(event))
        await asyncio.to_thread(done.wait, 30)

    async with bench(tmp_path, slow) as work:
        runner, store, loop = work.workers.runner, work.store, asyncio.get_running_loop()
        do = runner.claim

        async def slowly(*arguments: Any) -> Any:
            result = await do(*arguments)
            found.set()
            await go_on.wait()
            loop.call_soon(done.set)
            return result

        await work.give(1)
        await work.give(2)
        monkeypatch.setattr(runner, "claim", slowly)
        await store.take(intake(store, 3, jobs=["mine.slow"], state=ReplyState.OPEN))
        await found.wait()
        loop.call_soon(go_on.set)  # when the end has begun
    assert seen == ["1"]
    assert stored.claims(store.address) == {}
    assert [job.attempts for job in stored.jobs(store.address)] == [0, 0]


async def test_who_stood_still_runs_no_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others may take this receiver for dead they may run it: it waits for its lease."""
    looks: list[bool] = []
    seen: list[int] = []

    def alive() -> bool:
        looks.append(len(looks) >= 3)
        return looks[-1]

    async def counts(event: Event[Message], context: object) -> None:
        seen.append(len(looks))

    monkeypatch.setattr(workers_module, "STORE_PAUSE", 0.0)
    async with bench(tmp_path, counts) as work:
        monkeypatch.setattr(work.store.membership, "alive", alive)
        await work.give(1)
        await work.done()
    assert seen == [4]
