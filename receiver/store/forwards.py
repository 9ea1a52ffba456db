"""What becomes of jobs of kind forward."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from receiver.store import jobs
from receiver.store.group_commit import Writer
from receiver.store.records import to_micros
from receiver.store.tx import Tx

_DONE = "DELETE FROM jobs WHERE id = ?"
HURRY = (
    "UPDATE jobs SET due_at = ?2 WHERE id IN (SELECT id FROM jobs"
    " WHERE target = ?1 AND state = 'due' AND due_at > ?2 LIMIT ?3)"
)
_KILL = (
    "UPDATE jobs SET state = 'dead', due_at = 0, error = ?2 WHERE id IN (SELECT id FROM jobs"
    " WHERE target = ?1 AND state = 'due' AND due_at <= ?3 LIMIT ?4)"
)
#: Jobs that are changed in one transaction: more would hold up the pushes.
PIECE = 200


class Forwards:
    """Writes about what is to be forwarded. Every one may raise `StoreUnavailable`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def done(self, job: int) -> None:
        """The target has taken it."""
        await self._run(_DONE, job)

    async def put_off(self, job: int, due: datetime, error: str) -> None:
        """It is tried again then; the attempt is counted."""
        await self._fail(job, to_micros(due), error)

    async def kill(self, job: int, error: str) -> None:
        """It is not tried again unless a person says so; the attempt is counted."""
        await self._fail(job, None, error)

    async def kill_all(self, target: str, due_by: datetime | None, error: str) -> int:
        """Makes dead letters of all that was due by then (None: of all); how many."""
        at = to_micros(due_by) if due_by else jobs.NEVER
        return await self._run_whole(_KILL, target, error, at)

    async def hurry(self, target: str, now: datetime) -> int:
        """Makes due what was put off; how many."""
        return await self._run_whole(HURRY, target, to_micros(now))

    async def _run_whole(self, statement: str, *values: object) -> int:
        """Runs a statement, piece by piece, until nothing is left to do; how much there was."""
        done = 0
        while some := await self._run(statement, *values, PIECE):
            done += some
        return done

    async def _run(self, statement: str, *values: object) -> int:
        def run(tx: Tx) -> int:
            return tx.execute(statement, values).rowcount

        return await self._writer.run(run)

    async def _fail(self, job: int, due_at: int | None, error: str) -> None:
        await self._writer.run(
            partial(jobs.fail, job=job, due_at=due_at, error=error, counted=False)
        )
