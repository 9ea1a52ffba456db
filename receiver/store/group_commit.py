"""Group commit: one thread, one connection, one transaction for all waiting operations.

A coroutine submits an operation and waits for its result, which comes after the COMMIT has
returned: with synchronous=FULL it is then on disk. No other thread uses the connection, and a
cancelled coroutine does not cancel the operation that it submitted.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace

from receiver.errors import StoreUnavailable
from receiver.store.commits import Commits, Joined, Lanes, Push, Results, Together, Work
from receiver.store.engine import WriterConnection
from receiver.store.records import BundleResult, StoredBundle, StoredPush, StoreResult
from receiver.store.tx import Tx

A = TypeVar("A")
T = TypeVar("T")
#: Makes the record of each arrival, or the exception that prevented it.
Prepare = Callable[[list[A]], Sequence[StoredPush | Exception]]
_Waiting = tuple[Work, "asyncio.Future[Any]"]

#: Most operations that wait for a commit. Above it callers get `StoreUnavailable`.
QUEUE_LIMIT = 8192
#: The same in bytes; the batch that is being committed is not included.
QUEUE_BYTES = 16 * 1024 * 1024
#: Turns of the event loop before a batch is handed over. An idle loop does them in microseconds. A
#: busy one uses them to answer the last batch and to read the next pushes, so each commit takes
#: half as many more at the same cost.
_TURNS = 4
#: Arrivals that are prepared at once: they block the loop meanwhile.
_TOGETHER = 64
#: Seconds without an operation after which all upkeep is done.
_IDLE = 1.0
#: Seconds that a push waits for a commit: a provider waits little longer for its answer.
_PATIENCE = 10.0
#: Seconds after which a commit that does not return counts as stuck.
_STUCK = 120.0

log = structlog.get_logger("receiver.store")


class Writer:
    """Owns the connection that writes."""

    def __init__(self, connection: WriterConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[tuple[list[_Waiting], int] | None] = queue.SimpleQueue()
        self._waiting: list[_Waiting] = []
        self._arrivals: list[tuple[Any, asyncio.Future[StoreResult]]] = []
        self._prepare: Prepare[Any]
        self._busy = False
        self._refusal: str | None = None
        self._dead: str | None = None
        self._closed = False
        self._idle = asyncio.Event()
        self._in_hand: list[_Waiting] = []
        self._waiting_bytes = 0
        self._busy_since: float | None = None
        self.on_jobs: Callable[[Lanes], None] = lambda _: None
        """Told by kind and lane, on the event loop, what a commit has made work for."""
        self.on_forsaken: Callable[[Sequence[int]], None] = lambda _: None
        """Told of jobs that were claimed for a push whose coroutine was cancelled meanwhile."""
        self.on_doubtful: Callable[[Sequence[int]], None] = lambda _: None
        """Told of events whose commit failed; it may have succeeded if the connection was lost."""
        self.touched = asyncio.Event()
        """Set by whatever is submitted, and at first; cleared by who follows the changes."""
        self.touched.set()
        self.commits = Commits(connection)
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Returns how many operations wait for their commit."""
        return len(self._arrivals) + len(self._waiting) + len(self._in_hand)

    @property
    def waiting_bytes(self) -> int:
        """Returns the bytes of the pushes that are in no commit yet."""
        return self._waiting_bytes

    def ended(self) -> str | None:
        """Returns the reason why the store takes nothing any more; None if it does.

        To be called each second: pushes wait for a commit for so long at most.
        """
        if self._dead is None and not self._closed and not self._thread.is_alive():
            self._ended("has ended")
        if self._dead is not None:
            return self._dead
        since = self._busy_since
        busy = 0.0 if since is None else time.monotonic() - since
        if busy > _PATIENCE:
            self._refuse_pushes(f"a commit has taken {busy:.0f} s until now")
        if busy > _STUCK:
            return f"has been busy with one commit for more than {_STUCK:g} s"
        return None

    def take(self, push: StoredPush) -> asyncio.Future[StoreResult]:
        """Stores a push. Raises `StoreUnavailable`, at once when too much waits already."""
        future = self._submit(push)
        row = push.row
        self._waiting_bytes += len(row.request) + len(row.data) + len(row.answer)
        return future

    def take_bundle(
        self, make: Callable[[], StoredBundle], size: int
    ) -> asyncio.Future[BundleResult]:
        """As `take`, for the push that `make` returns. `size`: about its bytes."""
        future = self._admit()
        self._waiting_bytes += size
        if self._arrivals:  # they came before it
            self._prepare_arrivals()
        self._waiting.append((make(), future))
        return future

    def take_later(self, arrival: A, prepare: Prepare[A], size: int) -> asyncio.Future[StoreResult]:
        """As `take`, for the record that `prepare` makes of the arrival. `size`: about its bytes.

        `prepare` is called on the event loop just before the commit, for all its arrivals or some
        dozens of them, so all must come with the same function.
        """
        future = self._admit()
        self._arrivals.append((arrival, future))
        self._prepare = prepare
        self._waiting_bytes += size
        if len(self._arrivals) >= _TOGETHER:
            self._prepare_arrivals()
        return future

    def run(self, operation: Callable[[Tx], T]) -> asyncio.Future[T]:
        """Runs `operation` on the connection inside the next transaction."""
        return self._submit(operation)

    def join(self, together: Together[A, T], one: A) -> asyncio.Future[T]:
        """Runs `together` inside the next transaction, once for all that joined it until then."""
        return self._submit(Joined(together, one))

    async def close(self) -> None:
        """Commits the waiting operations, writes the WAL back and closes the connection."""
        self._closed = True
        self._refusal = self._refusal or "the store is closed"
        if self._busy:
            await self._idle.wait()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    def _submit(self, work: Work) -> asyncio.Future[Any]:
        future = self._admit()
        self._waiting.append((work, future))
        return future

    def _admit(self) -> asyncio.Future[Any]:
        """Returns the future of an operation. Raises `StoreUnavailable` if too much waits."""
        if self._refusal is not None:
            raise StoreUnavailable(self._refusal)
        if self.depth >= QUEUE_LIMIT or self._waiting_bytes >= QUEUE_BYTES:
            raise StoreUnavailable("too many requests wait for the store")
        self.touched.set()
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
        for (_, future), push in pairs:
            if not isinstance(push, Exception):
                self._waiting.append((push, future))
            elif not future.done():
                future.set_exception(push)

    def _hand_over_after(self, turns: int) -> None:
        """Hands the waiting operations over some turns later: new ones join until then."""
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

    def _committed(self, batch: list[_Waiting], results: Results, made: Lanes) -> None:
        doubtful: list[Work] = []
        for (work, future), result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                if isinstance(result, StoreUnavailable):
                    doubtful.append(work)
                if not future.done():
                    future.set_exception(result)
            elif not future.done():
                future.set_result(result)
            # Its coroutine was cancelled, or told to come again; it is stored.
            elif isinstance(result, StoreResult) and result.claimed:
                self.on_forsaken(result.jobs)
                self._claim_nothing()
        self._doubt(doubtful)
        if made:
            self.on_jobs(made)
        self._in_hand = []
        if self._waiting or self._arrivals:
            self._hand_over_after(_TURNS)
        else:
            self._rest()

    def _refuse_pushes(self, why: str) -> None:
        """Fails the pushes that wait. Those of the commit that is under way may be stored yet."""
        late = [pair for pair in self._in_hand if not pair[1].done()]
        self._doubt(work for work, _ in late)
        refused = [future for work, future in late if isinstance(work, Push)]
        refused += [future for work, future in self._waiting if isinstance(work, Push)]
        refused += [future for _, future in self._arrivals]
        self._waiting = [
            (work, future) for work, future in self._waiting if not isinstance(work, Push)
        ]
        self._arrivals, self._waiting_bytes = [], 0
        for future in refused:
            if not future.done():
                future.set_exception(StoreUnavailable(why))

    def _doubt(self, batch: Iterable[Work]) -> None:
        """Tells of events that may be stored, and their jobs claimed."""
        if events := [seq for work in batch if isinstance(work, Push) for seq in _claimed(work)]:
            self.on_doubtful(events)
            self._claim_nothing()

    def _claim_nothing(self) -> None:
        """Has no push that is prepared begin its jobs: what comes before them may wait again."""
        self._waiting = [(_unclaimed(work), future) for work, future in self._waiting]

    def _rest(self) -> None:
        """Nothing waits."""
        self._busy = False
        if self._refusal is not None:
            self._idle.set()

    def _ended(self, why: str) -> None:
        """Fails all waiting operations: the thread ended though the store was not closed."""
        self._dead = why
        self._refusal = f"the store's writer {why}; the service must be restarted"
        waiting = [*self._in_hand, *self._waiting, *self._arrivals]
        self._in_hand, self._waiting, self._arrivals = [], [], []
        for _, future in waiting:
            if not future.done():
                future.set_exception(StoreUnavailable(self._refusal))
        self._rest()

    # The methods below run on the writer's thread.

    def _run(self) -> None:
        why = None
        try:
            self._work()
        except BaseException as error:  # whatever the error is, no caller may wait for ever
            why = f"has ended: {type(error).__name__}: {error}"
            log.critical("the store's writer has ended", exc_info=True)
        finally:
            self._connection.close()
            if why is not None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._ended, why)

    def _work(self) -> None:
        """Commits batch after batch until the store is closed."""
        connection, dirty = self._connection, False
        self.commits.begin()
        while True:
            self._busy_since = None
            try:
                handed_over = self._batches.get(timeout=_IDLE if dirty else None)
            except queue.Empty:
                dirty = not connection.rest()
                continue
            if handed_over is None:
                break
            batch, size = handed_over
            self._busy_since = time.monotonic()
            results, made = self.commits.commit([work for work, _ in batch])
            dirty = True
            try:
                self._loop.call_soon_threadsafe(self._committed, batch, results, made)
            except RuntimeError:  # the loop is closed: nobody waits any more
                break
            # Only now: the callers of this batch do not wait for it.
            connection.tidy_up(len(batch), size)
        connection.rest()


def _claimed(work: Push) -> list[int]:
    """Returns the numbers of the events whose jobs were to be claimed."""
    pushes = [work] if isinstance(work, StoredPush) else work.pushes
    return [push.row.seq for push in pushes if push.owner]


def _unclaimed(work: Work) -> Work:
    """Returns the work; a push leaves its jobs to whoever looks for some."""
    if isinstance(work, StoredPush) and work.owner:
        return replace(work, owner=0)
    if isinstance(work, StoredBundle):
        return replace(work, pushes=tuple(replace(push, owner=0) for push in work.pushes))
    return work
