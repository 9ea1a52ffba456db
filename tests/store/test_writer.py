"""Group commit: one transaction for all that waits, and what happens when it fails."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from receiver.actions import Reply, Send
from receiver.config import StoreAddress
from receiver.errors import StoreUnavailable
from receiver.store import Store, StoredPush, StoreResult, group_commit
from receiver.store.engine import Lane, person_index
from receiver.store.engine.person_index import index_people
from receiver.store.engine.sqlite.connection import WriterConnection
from receiver.store.group_commit import QUEUE_BYTES, QUEUE_LIMIT
from receiver.store.records import HandlerActions
from receiver.store.tx import Tx
from tests.harness import until, until_async
from tests.store.rows import PERSON, RAW, held, intake, opened
from tests.store.sql import Refused, look
from tests.stored import file_of

pytestmark = pytest.mark.anyio

COUNT = "SELECT count(*) FROM events"


async def test_what_returns_is_committed(address: StoreAddress) -> None:
    """Another connection sees an event at once when `take` has returned."""
    async with opened(address) as store:
        for n in range(20):
            await store.take(intake(store, n))
            assert look(store.address, COUNT) == [(n + 1,)]


async def test_all_that_waits_shares_a_commit(address: StoreAddress) -> None:
    """What comes while a commit is under way is written in one, and each gets its own result."""
    async with opened(address) as store:
        before = store.writer.commits.rows.count
        async with held(store):
            rows = [intake(store, n, answer=str(n).encode()) for n in range(300)]
            waiting = [store.take(row) for row in rows]
        taken = await asyncio.gather(*waiting)
        assert store.writer.commits.rows.count - before == 2  # the one that was held, and this
        assert [each.answer for each in taken] == [row.row.answer for row in rows]
        assert [each.seq for each in taken] == [row.row.seq for row in rows]
        assert all(each.new for each in taken)


async def test_repeats_in_one_commit_are_one_event(address: StoreAddress) -> None:
    """Of the same push fifty times in one transaction the first is stored, all get its answer."""
    async with opened(address) as store:
        async with held(store):
            waiting = [store.take(intake(store, 1, answer=str(n).encode())) for n in range(50)]
            waiting += [store.take(intake(store, 2, answer=b"other"))]
        taken = await asyncio.gather(*waiting)
        assert {each.answer for each in taken[:50]} == {b"0"}
        assert len({each.seq for each in taken[:50]}) == 1
        assert [each.new for each in taken] == [True, *[False] * 49, True]
        assert look(store.address, COUNT) == [(2,)]


@pytest.mark.parametrize(
    "what",
    [
        {"jobs": ["mine.later"]},
        {"reply": Reply("hello"), "reply_in_answer": False},
        {
            "handler_actions": [
                HandlerActions(handler="mine.rule", actions=(Send(to=PERSON, text="hi"),))
            ]
        },
    ],
    ids=["a background handler", "a reply by the outbox", "a message"],
)
async def test_what_has_made_work_is_told(address: StoreAddress, what: dict[str, Any]) -> None:
    """Also if it is one of many pushes from which nothing follows, of which nothing is told."""
    async with opened(address) as store:
        told: list[Collection[Lane]] = []
        store.writer.on_jobs = told.append
        async with held(store):
            plain = [store.take(intake(store, n, reply=Reply("hello"))) for n in range(3)]
        await asyncio.gather(*plain)
        assert told == []
        async with held(store):
            waiting = [store.take(intake(store, 3)), store.take(intake(store, 4, **what))]
        await asyncio.gather(*waiting)
        assert [len(lanes) for lanes in told] == [1]


@pytest.mark.parametrize(
    "error", [ValueError("mine"), sqlite3.IntegrityError("mine"), OverflowError("mine")]
)
async def test_one_bad_operation_leaves_its_neighbours_alone(
    address: StoreAddress, error: Exception
) -> None:
    """An operation that raises fails by itself; what it had written is undone, all else stands."""

    def bad(tx: Tx) -> None:
        tx.execute("INSERT INTO meta (key, value) VALUES ('bad', 1)")
        raise error

    async with opened(address) as store:
        async with held(store):
            waiting = [store.take(intake(store, n)) for n in range(10)]
            failing = store.writer.run(bad)
            waiting += [store.take(intake(store, n)) for n in range(10, 20)]
        assert all(taken.new for taken in await asyncio.gather(*waiting))
        with pytest.raises(type(error), match="mine"):
            await failing
        assert look(store.address, COUNT) == [(20,)]
        assert look(store.address, "SELECT * FROM meta WHERE key = 'bad'") == []


async def test_a_statement_that_is_refused_leaves_its_neighbours_alone(
    address: StoreAddress,
) -> None:
    """It ends the transaction of all in PostgreSQL: each is retried in one of its own."""
    async with opened(address) as store:
        async with held(store):
            good = [store.take(intake(store, 1))]
            bad = store.writer.run(
                lambda tx: tx.execute("INSERT INTO people_runs VALUES (1, 2, NULL)")
            )
            good += [store.take(intake(store, 2))]
        assert all(taken.new for taken in await asyncio.gather(*good))
        with pytest.raises(Refused):
            await bad
        assert look(store.address, COUNT) == [(2,)]


async def test_an_event_that_cannot_be_written_leaves_others_alone(address: StoreAddress) -> None:
    """A push that SQLite refuses is refused; those beside it are stored."""
    async with opened(address) as store:
        async with held(store):
            good = [store.take(intake(store, n)) for n in range(5)]
            bad = store.take(intake(store, "x", subject="\ud800"))
        assert all(taken.new for taken in await asyncio.gather(*good))
        with pytest.raises(UnicodeEncodeError):
            await bad
        assert look(store.address, COUNT) == [(5,)]


async def test_a_cancelled_waiter_undoes_nothing(address: StoreAddress) -> None:
    """A request that is cancelled while its commit is under way is stored; so is all after it."""
    async with opened(address) as store:
        async with held(store):
            cancelled = asyncio.ensure_future(store.take(intake(store, 1)))
            kept = asyncio.ensure_future(store.take(intake(store, 2)))
            cancelled.cancel()
        assert (await kept).new
        assert look(store.address, COUNT) == [(2,)]
        assert not (await store.take(intake(store, 1))).new


async def test_cancelling_at_any_point_leaves_no_transaction_open(tmp_path: Path) -> None:
    """With requests cancelled all over the place, whatever returns is seen by others at once."""
    chance = random.Random(9)
    async with opened(tmp_path) as store:

        async def one(n: int) -> None:
            await store.take(intake(store, n))
            found = look(store.address, "SELECT 1 FROM events WHERE key = ?", f"message:{n}")
            assert found == [(1,)]

        tasks = []
        for n in range(300):
            task = asyncio.create_task(one(n))
            tasks.append(task)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                chance.choice(tasks).cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {type(None), asyncio.CancelledError}
        with closing(sqlite3.connect(file_of(store), timeout=0)) as db:
            db.execute("BEGIN IMMEDIATE")  # nobody holds a transaction open
            db.execute("ROLLBACK")


async def test_too_much_that_waits_is_refused_at_once(tmp_path: Path) -> None:
    """Beyond the limit of the queue callers are told to come back, and nothing else is lost."""
    async with opened(tmp_path) as store:
        async with held(store):
            room = QUEUE_LIMIT - store.writer.depth
            waiting = [store.take(intake(store, n)) for n in range(room)]
            with pytest.raises(StoreUnavailable, match="too many requests wait"):
                store.take(intake(store, "beyond"))
        assert all(taken.new for taken in await asyncio.gather(*waiting))
        assert look(store.address, COUNT) == [(len(waiting),)]
        assert (await store.take(intake(store, "after"))).new


async def test_no_push_waits_long_for_a_commit(
    address: StoreAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to come again: those in it may be stored then, and nobody begins their jobs."""
    monkeypatch.setattr(group_commit, "_PATIENCE", 0.0)
    forsaken: list[int] = []
    doubtful: list[int] = []
    async with opened(address) as store:
        store.writer.on_forsaken, store.writer.on_doubtful = forsaken.extend, doubtful.extend
        inside = store.take(replace(intake(store, 1, jobs=["mine.one"]), owner=1))
        async with held(store):  # in the same commit
            behind = [
                store.take(intake(store, 2)),
                store.take_later(3, lambda ids: [intake(store, id_) for id_ in ids], 100),
            ]
            change = store.writer.run(lambda tx: "done")
            assert store.writer.ended() is None
            for refused in (inside, *behind):
                with pytest.raises(StoreUnavailable, match="a commit has taken"):
                    await refused
            assert (store.writer.depth, store.writer.waiting_bytes) == (3, 0)
        assert await change == "done"
        assert look(store.address, COUNT) == [(1,)]
        assert [(seq,) for seq in doubtful] == look(store.address, "SELECT seq FROM events")
        assert [(job,) for job in forsaken] == look(store.address, "SELECT id FROM jobs")
        assert not (await store.take(intake(store, 1))).new


async def test_nothing_is_claimed_before_what_may_be_stored(address: StoreAddress) -> None:
    """After a commit that failed, or only seems so, pushes that wait leave their jobs, too."""
    loop, entered, released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    doubtful: list[int] = []

    def lost(tx: Tx) -> None:
        loop.call_soon_threadsafe(entered.set)
        assert released.wait(30)
        raise OSError("the connection is lost")

    async with opened(address) as store:
        store.writer.on_doubtful = doubtful.extend
        first, second = (replace(intake(store, n, jobs=["mine.one"]), owner=1) for n in range(2))
        failing: list[asyncio.Future[Any]] = [store.take(first), store.writer.run(lost)]
        await entered.wait()
        waiting = store.take(second)
        released.set()
        found = await asyncio.gather(*failing, return_exceptions=True)
        assert [type(each) for each in found] == [StoreUnavailable] * 2
        assert doubtful == [first.row.seq]
        assert not (await waiting).claimed


async def test_nothing_is_claimed_before_what_nobody_waits_for(address: StoreAddress) -> None:
    """Its jobs wait again, so the pushes that are to be committed next leave theirs."""
    forsaken: list[int] = []
    async with opened(address) as store:
        store.writer.on_forsaken = forsaken.extend
        first, second = (replace(intake(store, n, jobs=["mine.one"]), owner=1) for n in range(2))
        gone = store.take(first)
        async with held(store):  # in the same commit
            gone.cancel()
            waiting = store.take(second)
        assert not (await waiting).claimed
        assert len(forsaken) == 1


async def test_arrivals_are_prepared_together(address: StoreAddress) -> None:
    """When their commit is about to begin, some dozens at once; each gets its own result."""
    pieces: list[list[int]] = []

    def prepare(numbers: list[int]) -> list[StoredPush | Exception]:
        pieces.append(numbers)
        return [intake(store, n, answer=str(n).encode()) for n in numbers]

    async with opened(address) as store:
        async with held(store):
            waiting = [store.take_later(n, prepare, 100) for n in range(150)]
            assert [len(piece) for piece in pieces] == [64, 64]
            assert store.writer.depth == 151  # and what holds the writer
            assert store.writer.waiting_bytes == 15_000
        taken = await asyncio.gather(*waiting)
        assert [n for piece in pieces for n in piece] == list(range(150))
        assert [each.answer for each in taken] == [str(n).encode() for n in range(150)]
        assert store.writer.depth == store.writer.waiting_bytes == 0
        assert look(store.address, COUNT) == [(150,)]


async def test_what_cannot_be_prepared_fails_alone(address: StoreAddress) -> None:
    """The others of its commit are stored; where there are none, there is no commit."""

    def prepare(numbers: list[int]) -> list[StoredPush | Exception]:
        return [intake(store, n) if n % 2 else ValueError(n) for n in numbers]

    async with opened(address) as store:
        before = store.writer.commits.rows.count
        with pytest.raises(ValueError, match="2"):
            await store.take_later(2, prepare, 100)
        assert store.writer.commits.rows.count == before
        assert store.writer.depth == store.writer.waiting_bytes == 0
        both = [store.take_later(n, prepare, 100) for n in (3, 4)]
        taken, failed = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(taken, StoreResult)
        assert isinstance(failed, ValueError)
        assert look(store.address, COUNT) == [(1,)]


async def test_a_preparation_that_fails_stops_nothing(address: StoreAddress) -> None:
    """Those it was for are told, and the next ones are stored."""

    def prepare(numbers: list[int]) -> list[StoredPush | Exception]:
        if 3 in numbers:
            raise KeyError(3)
        return [intake(store, n) for n in numbers]

    async with opened(address) as store:
        both = [store.take_later(n, prepare, 100) for n in (3, 4)]
        failed = await asyncio.gather(*both, return_exceptions=True)
        assert [type(each) for each in failed] == [KeyError, KeyError]
        assert (await store.take_later(5, prepare, 100)).new


async def test_who_gave_up_before_the_preparation_is_stored_all_the_same(
    address: StoreAddress,
) -> None:
    """Whether it can be prepared or not, nothing is raised to nobody."""

    def prepare(numbers: list[int]) -> list[StoredPush | Exception]:
        return [intake(store, n) if n % 2 else ValueError(n) for n in numbers]

    async with opened(address) as store:
        async with held(store):
            for n in range(4):
                store.take_later(n, prepare, 100).cancel()
            last = store.take_later(5, prepare, 100)
        await last
        assert look(store.address, COUNT) == [(3,)]


async def test_what_joins_is_done_in_one_go_for_a_commit(address: StoreAddress) -> None:
    """Each gets its own result, also beside pushes and other operations."""
    done: list[list[int]] = []

    def double(_: Tx, numbers: Sequence[int]) -> list[int]:
        done.append(list(numbers))
        return [2 * number for number in numbers]

    async with opened(address) as store:
        async with held(store):
            one, push = store.join(double, 1), store.take(intake(store, 1))
            other, last = store.writer.run(lambda _: "other"), store.join(double, 2)
        assert (await one, await other, await last) == (2, "other", 4)
        assert (await push).new
        assert done == [[1, 2]]


async def test_one_of_many_that_joined_fails_alone(address: StoreAddress) -> None:
    """The others are done, once each in a transaction that is committed."""

    def note(tx: Tx, names: Sequence[str]) -> list[None]:
        for name in names:
            tx.execute("INSERT INTO meta (key, value) VALUES (?, 1)", (name,))
        return [None] * len(names)

    async with opened(address) as store:
        with capture_logs():
            async with held(store):
                waiting = [store.join(note, name) for name in ("x", "node", "y")]
            found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(each, Refused) for each in found] == [False, True, False]
        assert look(store.address, "SELECT key FROM meta WHERE key IN ('x', 'y')") == [
            ("x",),
            ("y",),
        ]


async def test_too_many_bytes_that_wait_are_refused_at_once(address: StoreAddress) -> None:
    """Few large requests are bounded as many small ones are."""
    large = bytes(1024 * 1024)
    async with opened(address) as store:
        async with held(store):
            room = QUEUE_BYTES // len(large)
            waiting = [store.take(intake(store, n, request=large)) for n in range(room)]
            with pytest.raises(StoreUnavailable, match="too many requests wait"):
                store.take(intake(store, "beyond"))
        assert all(taken.new for taken in await asyncio.gather(*waiting))
        assert (await store.take(intake(store, "after", request=large))).new


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    """What was handed in before the store closes is stored, what comes after is refused."""
    async with opened(tmp_path) as store:
        async with held(store):
            waiting = [store.take(intake(store, n)) for n in range(100)]
            closing_ = asyncio.create_task(store.writer.close())
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable, match="closed"):
                store.take(intake(store, "late"))
        await closing_
        assert all(taken.new for taken in await asyncio.gather(*waiting))
    assert look(tmp_path / "receiver.db", COUNT) == [(100,)]
    assert not (tmp_path / "receiver.db-wal").exists()


async def test_a_deleted_store_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the file is gone, commits that nobody would ever see are refused within 10 s.

    That is told once, and when it is over; not with each push.
    """
    async with opened(tmp_path) as store:
        await store.take(intake(store, "before"))
        elsewhere = file_of(store).with_name("elsewhere")
        file_of(store).rename(elsewhere)
        reason = await until_async(store.check, "not ready", 10)
        assert "deleted or replaced" in reason
        for n in range(50):
            with pytest.raises(StoreUnavailable):
                await store.take(intake(store, n))
        elsewhere.rename(file_of(store))
        assert await store.check() is None
        assert (await store.take(intake(store, "after"))).new
    lines = capsys.readouterr().out.splitlines()
    assert ["commit failed" in line for line in lines] == [True, False]
    assert "takes commits again" in lines[1]


async def test_a_folder_that_is_replaced_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a file is in its place pushes are refused; afterwards they are stored again."""
    monkeypatch.setattr("receiver.store.engine.sqlite.connection._WRITE_BACK", 1)
    folder = tmp_path / "folder"
    folder.mkdir()
    async with opened(folder) as store, asyncio.timeout(30):
        await store.take(intake(store, "before"))
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("not a folder")
        await store.take(intake(store, "looks at the log"))
        await until_async(store.check, "not ready", 10)
        with pytest.raises(StoreUnavailable):
            await store.take(intake(store, "meanwhile"))
        folder.unlink()
        (tmp_path / "elsewhere").rename(folder)
        assert await store.check() is None
        assert (await store.take(intake(store, "after"))).new


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("unforeseen"), MemoryError()])
@pytest.mark.parametrize("chore", ["_write_back", "_empty_wal", "_add_run"])
async def test_no_chore_ends_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chore: str, error: Exception
) -> None:
    """Whatever goes wrong beside the commits, commits go on."""

    def fail(self: WriterConnection) -> bool:
        tried.append(chore)
        raise error

    tried: list[str] = []
    monkeypatch.setattr("receiver.store.engine.sqlite.connection._WRITE_BACK", 1)
    monkeypatch.setattr("receiver.store.engine.sqlite.connection.PIECE", 1)
    monkeypatch.setattr("receiver.store.group_commit._IDLE", 0.01)
    monkeypatch.setattr(WriterConnection, chore, fail)
    async with opened(tmp_path) as store, asyncio.timeout(30):
        await store.take(intake(store, 1))
        await asyncio.to_thread(until, lambda: tried, "a try")
        assert (await store.take(intake(store, 2))).new
        assert store.writer.ended() is None
    assert look(store.address, COUNT) == [(2,)]


def fall_over(tx: Tx) -> None:
    """Ends the thread, as nothing that is foreseen does."""
    tx.execute("INSERT INTO meta (key, value) VALUES ('fallen', 1)")
    raise SystemExit("fallen")


async def test_nobody_waits_for_a_writer_that_has_ended(address: StoreAddress) -> None:
    """What waits and what comes later fails at once, and says why; closing ends as well."""
    async with asyncio.timeout(30), opened(address) as store:
        await store.take(intake(store, 1))
        async with held(store):
            last = store.writer.run(fall_over)
            waiting = [store.take(intake(store, n)) for n in range(2, 20)]
            later = store.take_later(20, lambda ids: [intake(store, n) for n in ids], 100)
        results = await asyncio.gather(last, *waiting, later, return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        with pytest.raises(StoreUnavailable, match="the store's writer has ended: SystemExit"):
            await store.take(intake(store, 21))
        why = store.writer.ended()
        assert why == "has ended: SystemExit: fallen"
        assert await store.check() == f"the store's writer {why}; the service must be restarted"
        assert store.writer.depth == 0
    assert look(store.address, COUNT) == [(1,)]


async def test_a_preparation_of_the_wrong_length_is_told(address: StoreAddress) -> None:
    """Nobody waits for ever for what is missing."""
    async with opened(address) as store, asyncio.timeout(30):
        both = [store.take_later(n, lambda _: [], 100) for n in (1, 2)]
        failed = await asyncio.gather(*both, return_exceptions=True)
        assert [type(each) for each in failed] == [ValueError, ValueError]
        assert (await store.take(intake(store, 3))).new


async def test_no_commit_joins_a_transaction_that_was_left_open(tmp_path: Path) -> None:
    """It would be told to be on disk, and be undone with the connection."""
    async with opened(tmp_path) as store:
        await store.writer.run(lambda db: db.execute("COMMIT") and db.execute("BEGIN") and None)
        await store.take(intake(store, 1))
        assert look(store.address, COUNT) == [(1,)]


async def test_the_wal_is_written_back_when_nothing_comes(tmp_path: Path) -> None:
    """After a moment of silence the WAL is empty and everything is in the file itself."""
    wal = tmp_path / "receiver.db-wal"
    async with opened(tmp_path) as store:
        for n in range(50):
            await store.take(intake(store, n))
        assert wal.stat().st_size > 0
        await asyncio.to_thread(until, lambda: wal.stat().st_size == 0, "an empty WAL")


async def test_the_wal_is_written_back_when_it_grows(tmp_path: Path) -> None:
    """Under load that never pauses the WAL grows to some 4 MB, then is used from its start."""
    wal = tmp_path / "receiver.db-wal"
    sizes = []
    async with opened(tmp_path) as store:
        for n in range(1000):
            await store.take(intake(store, n))
            sizes.append(wal.stat().st_size)
        for n in range(1000, 1030):
            await store.take(intake(store, n, answer=bytes(1024 * 1024)))
            sizes.append(wal.stat().st_size)
    assert max(sizes[:1000]) / 1024 / 1024 < 8
    assert 3 < max(sizes) / 1024 / 1024 < 8


def indexed(store: Store) -> int:
    """How many events are in the index of people."""
    ((count,),) = look(store.address, "SELECT count(*) FROM people")
    return int(count)


async def test_people_are_indexed_under_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many at a time: a look-up has few events to read one by one, however busy it is."""
    monkeypatch.setattr("receiver.store.engine.sqlite.connection.PIECE", 64)
    async with opened(tmp_path) as store:
        for n in range(74):
            await store.take(intake(store, n))
        assert indexed(store) >= 64


async def test_people_are_indexed_when_nothing_comes(tmp_path: Path) -> None:
    """After a moment of silence no event is left to be read one by one, nor at the end."""
    async with opened(tmp_path) as store:
        await store.take(intake(store, 1))
        await asyncio.to_thread(until, lambda: indexed(store) == 1, "an index")
        await store.take(intake(store, 2))
    assert indexed(store) == 2


async def test_an_index_that_cannot_be_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The events stay, and the next time those of this time are added too."""

    def full(db: sqlite3.Connection) -> None:
        index_people(db)
        raise sqlite3.OperationalError("database or disk is full")

    async with opened(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(person_index, "index_people", full)
            await store.take(intake(store, 1))
            await asyncio.to_thread(until, lambda: "not indexed" in capsys.readouterr().out, "it")
        assert indexed(store) == 0
        assert (await store.take(intake(store, 2))).new
        await asyncio.to_thread(until, lambda: indexed(store) == 2, "both")
        assert look(store.address, "SELECT count(*) FROM events") == [(2,)]


async def test_the_index_of_people_changes_no_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written without waiting for the disk; the next commit waits for it again."""
    seen = []

    def noting(db: sqlite3.Connection) -> None:
        seen.append(db.execute("PRAGMA synchronous").fetchone())

    monkeypatch.setattr(person_index, "index_people", noting)
    async with opened(tmp_path) as store:
        await store.take(intake(store, 1))
        await asyncio.to_thread(until, lambda: seen, "an index")
        after = await store.writer.run(lambda db: db.execute("PRAGMA synchronous").fetchone())
    assert (seen[0], after) == ((1,), (2,))


async def test_a_reader_holds_up_no_commit(tmp_path: Path) -> None:
    """While an old snapshot is being read, commits go on; the WAL shrinks when it is let go."""
    wal = tmp_path / "receiver.db-wal"
    async with opened(tmp_path) as store:
        await store.take(intake(store, "first"))
        with closing(sqlite3.connect(file_of(store), isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute(COUNT).fetchone() == (1,)
            for n in range(50):
                assert (await store.take(intake(store, n))).new
            assert reader.execute(COUNT).fetchone() == (1,)
            assert wal.stat().st_size > 0
        await asyncio.to_thread(until, lambda: wal.stat().st_size == 0, "an empty WAL")


async def test_the_raw_request_is_kept(address: StoreAddress) -> None:
    """Whatever bytes a push was made of come back with its event."""
    async with opened(address) as store:
        taken = await store.take(intake(store, 1))
        assert look(store.address, "SELECT request FROM events") == [(RAW,)]
        stored = await store.reader.event(store.ids.text(taken.seq))
        assert stored is not None
        assert stored.request is not None
        assert stored.request.headers == [(b"x-raw", b"\xff")]


@pytest.mark.slow
async def test_a_look_at_health_is_bounded(tmp_path: Path) -> None:
    """`check` says so within seconds when the writer is stuck."""
    async with opened(tmp_path) as store:
        async with held(store) as waiting:
            async with asyncio.timeout(9):
                assert await store.check() == "the store has not taken a write within 5 s"
        await waiting
        assert await store.check() is None
