"""Runs all operations of a batch in one transaction, on the writer's thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog

from receiver.errors import StoreUnavailable
from receiver.logs.histogram import COMMIT_ROWS, COMMIT_SECONDS, Histogram
from receiver.store import bundles, jobs, pushes
from receiver.store.engine import Lane, WriterConnection
from receiver.store.records import StoredBundle, StoredPush
from receiver.store.tx import Tx

A = TypeVar("A")
T = TypeVar("T")
Operation = Callable[[Tx], Any]
#: Does for each of several what is asked for, in one go; returns their results in order.
Together = Callable[[Tx, Sequence[A]], Sequence[T]]


class Joined(NamedTuple):
    """One of what is done in one go for a whole commit."""

    together: Together[Any, Any]
    one: Any


Push = StoredPush | StoredBundle
Work = Push | Joined | Operation
#: Results of a batch in order; an exception is the result of an operation that failed.
Results = list[Any]
Lanes = set[Lane]

#: Seconds between log lines about the same error.
_COMPLAINT_PAUSE = 10.0

log = structlog.get_logger("receiver.store")


class Commits:
    """Commits one batch after the other."""

    def __init__(self, connection: WriterConnection) -> None:
        self._connection = connection
        self._complained = -math.inf
        self._last_job = 0
        self.trouble: str | None = None
        """Why the last commit failed; None when it did not."""
        self.seconds = Histogram(COMMIT_SECONDS)
        self.rows = Histogram(COMMIT_ROWS)

    def begin(self) -> None:
        """Remembers which jobs are there already."""
        self._last_job = jobs.last(self._connection.tx)

    def commit(self, batch: Sequence[Work]) -> tuple[Results, Lanes]:
        """Returns the results of a batch, and the lanes that it made work for."""
        began = time.perf_counter()
        try:
            self._connection.begin_commit(at_once=self.trouble is not None)
            results, made = self._store(batch)
        except Exception as error:
            if isinstance(error, OSError) or self._connection.is_unavailable(error):
                self._complain(error, len(batch))
                reason = f"the store cannot take it now: {error}"
                return [StoreUnavailable(reason) for _ in batch], set()
            if len(batch) > 1:  # one operation failed: the others are retried alone
                alone = [self.commit([work]) for work in batch]
                made = set[Lane]().union(*(lanes for _, lanes in alone))
                return [result for (result,), _ in alone], made
            log.exception("operation failed")
            return [error], set()
        if self.trouble is not None:
            log.warning("the store takes commits again")
            self.trouble = None
        self.seconds.add(time.perf_counter() - began)
        self.rows.add(len(batch))
        return results, made

    def _complain(self, error: Exception, rows: int) -> None:
        """Logs failing commits: the first, each new reason, and a line now and then."""
        reason, now = str(error), time.monotonic()
        if reason != self.trouble or now - self._complained > _COMPLAINT_PAUSE:
            log.error("commit failed", error=reason, rows=rows)
            self._complained = now
        self.trouble = reason

    def _store(self, batch: Sequence[Work]) -> tuple[Results, Lanes]:
        to_store = [work for work in batch if isinstance(work, StoredPush)]
        plain = pushes.are_plain(to_store)
        connection, tx = self._connection, self._connection.tx
        with connection.transaction():
            taken = pushes.take(tx, to_store, plain=plain)
            following, new = iter(taken), sum(one.new for one in taken)
            joined = _do_together(tx, batch) if len(to_store) < len(batch) else {}
            results: Results = []
            for work in batch:
                if isinstance(work, StoredPush):
                    results.append(next(following))
                elif isinstance(work, StoredBundle):
                    bundle = bundles.take(tx, work)
                    new += sum(one.new for one in bundle.events)
                    results.append(bundle)
                elif isinstance(work, Joined):
                    results.append(next(joined[work.together]))
                else:
                    results.append(work(tx))
            last, made = self._last_job, set[Lane]()
            if not plain or len(to_store) < len(batch):
                last, made = jobs.added(tx, last)
            if made:
                connection.announce(made)
        self._last_job = last
        connection.unindexed += new
        return results, made


def _do_together(tx: Tx, batch: Sequence[Work]) -> dict[Together[Any, Any], Iterator[Any]]:
    """Does what was joined; returns the results by what did it."""
    groups: dict[Together[Any, Any], list[Any]] = {}
    for work in batch:
        if isinstance(work, Joined):
            groups.setdefault(work.together, []).append(work.one)
    return {together: iter(together(tx, ones)) for together, ones in groups.items()}
