"""Group commit: one thread, one connection, one transaction for everything that waits.

A coroutine hands in an operation and waits for its result; the result comes after the COMMIT
that holds it has returned, which with synchronous=FULL means that it is on disk. Nobody else
ever touches the connection, and a cancelled coroutine cancels nothing of what it handed in.
"""

from __future__ import annotations

import asyncio
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from receiver.errors import StoreUnavailable
from receiver.logs.histogram import COMMIT_ROWS, COMMIT_SECONDS, Histogram
from receiver.store import jobs, writes
from receiver.store.records import StoredPush, StoreResult
from receiver.store.upkeep import Upkeep

A = TypeVar("A")
T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]
#: Makes what is stored of what arrived, or says why not, one for each.
Prepare = Callable[[list[A]], Sequence[StoredPush | Exception]]
_Waiting = tuple[StoredPush | Operation, "asyncio.Future[Any]"]
#: Results of a batch, in its order; an exception stands for the operation it ended.
_Results = list[Any]
#: Kind and lane of jobs.
_Lanes = set[tuple[str, str]]

#: Operations that may wait for a commit. Beyond it callers are told to come back.
QUEUE_LIMIT = 8192
#: The same in bytes; what is being committed comes on top, once.
QUEUE_BYTES = 16 * 1024 * 1024
#: Events that are added to the index of people at once, unless it is quiet before: until then a
#: look-up reads them one by one, which takes a few milliseconds. They are a run of their own,
#: written from beginning to end; fewer at once would write the pages of a run again and again.
PIECE = writes.RUN_EVENTS
#: Pages in the WAL that are written back at once. Ten times as many take 15 ms and cost no less
#: in all.
_WRITE_BACK = 800
#: Pages that a commit writes into the WAL, about: so many, one for each row, mostly of indexes, and
#: what the bytes of its rows fill.
_COMMIT_PAGES = 8
_PAGE = 4096
#: Turns of the event loop before a batch is handed over. The loop does not wait in them: an
#: idle one is through in microseconds. A busy one answers those of the last commit and reads
#: what they send next, and the commit that this joins costs the same for half as many more.
_TURNS = 4
#: Arrivals that are prepared at once: the loop does nothing else meanwhile.
_TOGETHER = 64
#: Seconds of silence after which the WAL is written back into the database file.
_IDLE = 1.0
#: Seconds between lines of the log about one and the same trouble.
_COMPLAINT_PAUSE = 10.0
#: What tells of the disk or the file. The other errors of SQLite are about one operation.
_STORE_ERRORS = (sqlite3.OperationalError, sqlite3.DatabaseError)

log = structlog.get_logger("receiver.store")


class Life:
    """Of all that the service cannot do without: it ends with the first of it that ends.

    Whoever owns a thread or task of that kind calls `end`, on the event loop. The service is then
    not alive any more for systemd, and ends as soon as it can, to be started anew.
    """

    def __init__(self) -> None:
        self.ended: str | None = None
        """Why it has."""
        self._over = asyncio.Event()

    def end(self, why: str) -> None:
        """Ends it; the first reason is the one that counts."""
        self.ended = self.ended or why
        self._over.set()

    async def wait(self) -> str:
        """Until it ends: why."""
        await self._over.wait()
        return self.ended or ""


class Writer:
    """Owns the connection that writes."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._upkeep = Upkeep(db, path)
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[tuple[list[_Waiting], int] | None] = queue.SimpleQueue()
        self._waiting: list[_Waiting] = []
        self._arrivals: list[tuple[Any, asyncio.Future[StoreResult]]] = []
        self._prepare: Prepare[Any]
        self._busy = False
        self._refusal: str | None = None
        self._idle = asyncio.Event()
        self._in_hand: list[_Waiting] = []
        self._waiting_bytes = 0
        self._complained = -math.inf
        self.trouble: str | None = None
        """Why the last commit failed; None when it did not."""
        self.life = Life()
        """Ends when the thread does, unless the store was closed: nothing more can be stored."""
        self.on_jobs: Callable[[_Lanes], None] = lambda _: None
        """Told by kind and lane, on the event loop, what a commit has made work for."""
        self.on_forsaken: Callable[[Sequence[int]], None] = lambda _: None
        """Told of jobs that were claimed for a push whose coroutine was cancelled meanwhile."""
        self.commit_seconds = Histogram(COMMIT_SECONDS)
        self.commit_rows = Histogram(COMMIT_ROWS)
        self._last_job = 0
        self._made: _Lanes = set()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Operations that wait for their commit."""
        return len(self._arrivals) + len(self._waiting) + len(self._in_hand)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the pushes that are in no commit yet."""
        return self._waiting_bytes

    def take(self, intake: StoredPush) -> asyncio.Future[StoreResult]:
        """Stores a push. Raises `StoreUnavailable`, at once when too much waits already."""
        future = self._submit(intake)
        row = intake.row
        self._waiting_bytes += len(row.request) + len(row.data) + len(row.answer)
        return future

    def take_later(self, arrival: A, prepare: Prepare[A], size: int) -> asyncio.Future[StoreResult]:
        """As `take`, of what `prepare` makes of the arrival. `size`: of that in bytes, about.

        It is called on the event loop just before their commit begins, for all arrivals of that
        or for some dozens of them, so they must come with the same function.
        """
        future = self._admit()
        self._arrivals.append((arrival, future))
        self._prepare = prepare
        self._waiting_bytes += size
        if len(self._arrivals) >= _TOGETHER:
            self._prepare_arrivals()
        return future

    def run(self, operation: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Runs `operation` on the connection inside the next transaction."""
        return self._submit(operation)

    async def close(self) -> None:
        """Commits what waits, writes the WAL back and closes the connection."""
        self._refusal = self._refusal or "the store is closed"
        if self._busy:
            await self._idle.wait()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    def _submit(self, work: StoredPush | Operation) -> asyncio.Future[Any]:
        future = self._admit()
        self._waiting.append((work, future))
        return future

    def _admit(self) -> asyncio.Future[Any]:
        """A future for the result of what is handed in, if it may wait."""
        if self._refusal is not None:
            raise StoreUnavailable(self._refusal)
        if self.depth >= QUEUE_LIMIT or self._waiting_bytes >= QUEUE_BYTES:
            raise StoreUnavailable("too many requests wait for the store")
        if not self._busy:
            self._busy = True
            self._hand_over_after(_TURNS)
        return self._loop.create_future()

    def _prepare_arrivals(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        pairs: list[tuple[tuple[Any, asyncio.Future[StoreResult]], StoredPush | Exception]]
        try:
            prepared = self._prepare([arrival for arrival, _ in arrivals])
            pairs = list(zip(arrivals, prepared, strict=True))
        except Exception as error:  # noqa: BLE001 - raised where they are waited for
            pairs = [(arrival, error) for arrival in arrivals]
        for (_, future), intake in pairs:
            if not isinstance(intake, Exception):
                self._waiting.append((intake, future))
            elif not future.done():
                future.set_exception(intake)

    def _hand_over_after(self, turns: int) -> None:
        """Hands over what waits some turns of the loop later: what arrives meanwhile joins."""
        if turns:
            self._loop.call_soon(self._hand_over_after, turns - 1)
            return
        if self._arrivals:
            self._prepare_arrivals()
        batch, self._waiting = self._waiting, []
        size, self._waiting_bytes = self._waiting_bytes, 0
        self._in_hand = batch
        if batch:
            self._batches.put((batch, size))
        else:  # nothing could be made of what arrived
            self._committed([], [], set())

    def _committed(self, batch: list[_Waiting], results: _Results, made: _Lanes) -> None:
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its coroutine was cancelled; the commit stands
                if isinstance(result, StoreResult) and result.claimed:
                    self.on_forsaken(result.jobs)
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        if made:
            self.on_jobs(made)
        self._in_hand = []
        if self._waiting or self._arrivals:
            self._hand_over_after(_TURNS)
        else:
            self._rest()

    def _rest(self) -> None:
        """Nothing waits."""
        self._busy = False
        if self._refusal is not None:
            self._idle.set()

    def _ended(self, why: str) -> None:
        """The thread has ended though the store was not closed: nobody waits for it any longer."""
        self._refusal = f"{why}; the service has to start anew"
        waiting = [*self._in_hand, *self._waiting, *self._arrivals]
        self._in_hand, self._waiting, self._arrivals = [], [], []
        for _, future in waiting:
            if not future.done():
                future.set_exception(StoreUnavailable(self._refusal))
        self._rest()
        self.life.end(self._refusal)

    # What follows runs on the writer's thread.

    def _run(self) -> None:
        why = None
        try:
            self._work()
        except BaseException as error:  # whatever it is, nobody must wait for ever
            why = f"the store's writer has ended: {type(error).__name__}: {error}"
            log.critical("the store's writer has ended", exc_info=True)
        finally:
            with suppress(sqlite3.Error):
                self._db.close()
            if why is not None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._ended, why)

    def _work(self) -> None:
        """Commits batch after batch until the store is closed."""
        upkeep, dirty, pages = self._upkeep, False, 0
        self._last_job = jobs.last(self._db)
        while True:
            try:
                handed_over = self._batches.get(timeout=_IDLE if dirty else None)
            except queue.Empty:
                upkeep.index_people()
                dirty = not upkeep.checkpoint()
                continue
            if handed_over is None:
                break
            batch, size = handed_over
            self._made = set()
            results = self._commit(batch)
            dirty = True
            try:
                self._loop.call_soon_threadsafe(self._committed, batch, results, self._made)
            except RuntimeError:  # the loop is closed: nobody waits any more
                break
            # Only now: those of this batch do not wait for it.
            if upkeep.unindexed >= PIECE:
                upkeep.index_people()
            pages += _COMMIT_PAGES + len(batch) + size // _PAGE
            if pages >= _WRITE_BACK:
                pages = 0
                upkeep.write_back()
        upkeep.index_people()
        upkeep.checkpoint()

    def _commit(self, batch: list[_Waiting]) -> _Results:
        began = time.perf_counter()
        try:
            self._upkeep.check_file(at_once=self.trouble is not None)
            results = self._store([work for work, _ in batch])
        except Exception as error:
            if isinstance(error, OSError) or type(error) in _STORE_ERRORS:
                self._complain(error, len(batch))
                reason = f"the store cannot take it now: {error}"
                return [StoreUnavailable(reason) for _ in batch]
            if len(batch) > 1:  # one of them is to blame, the others are not
                return [result for item in batch for result in self._commit([item])]
            log.exception("operation failed")
            return [error]
        if self.trouble is not None:
            log.warning("the store takes commits again")
            self.trouble = None
        self.commit_seconds.add(time.perf_counter() - began)
        self.commit_rows.add(len(batch))
        return results

    def _complain(self, error: Exception, rows: int) -> None:
        """Says that commits fail: when it begins, when the reason changes, and now and then."""
        reason, now = str(error), time.monotonic()
        if reason != self.trouble or now - self._complained > _COMPLAINT_PAUSE:
            log.error("commit failed", error=reason, rows=rows)
            self._complained = now
        self.trouble = reason

    def _store(self, work: list[StoredPush | Operation]) -> _Results:
        if self._db.in_transaction:  # a ROLLBACK failed: what is added to it would be in no commit
            self._db.execute("ROLLBACK")
        intakes = [item for item in work if isinstance(item, StoredPush)]
        if len(intakes) == len(work):
            taken = writes.take_at_once(self._db, intakes)
            if taken is not None:
                self._upkeep.unindexed += sum(one.new for one in taken)
                return taken
        return self._transaction(work, intakes)

    def _transaction(
        self, work: list[StoredPush | Operation], intakes: list[StoredPush]
    ) -> _Results:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            taken = writes.take(db, intakes)
            following = iter(taken)
            results = [
                next(following) if isinstance(item, StoredPush) else item(db) for item in work
            ]
            last, made = jobs.added(db, self._last_job)
            db.execute("COMMIT")
            self._last_job, self._made = last, self._made | made
            self._upkeep.unindexed += sum(one.new for one in taken)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return results
