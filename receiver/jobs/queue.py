"""The work of one kind in one lane: what is due is claimed as far as there is room, and done."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import structlog

from receiver.errors import StoreUnavailable
from receiver.limits import RetryPolicy
from receiver.store import Work, jobs

if TYPE_CHECKING:
    from receiver.jobs.runner import Runner

#: Kind and lane.
Key = tuple[str, str]

log = structlog.get_logger("receiver.jobs.queue")

#: Seconds between tries to store the result of work, and to look for it, while the store fails.
STORE_PAUSE = 1.0
#: The error of a job whose work raised what nobody expected; the log has the traceback.
BROKEN = "internal error; see the log of the service"
#: When it is tried again.
_RETRIES = RetryPolicy((60, 600, 3600))


class Queue(ABC):
    """Does the work of one kind in one lane."""

    kind: ClassVar[str]
    #: Jobs that are looked up at once.
    most: ClassVar[int] = 200
    #: One at a time is under way of each person, so the end of one makes the next one due.
    one_each: ClassVar[bool] = False
    #: Ends when nothing waits any more.
    passing = False

    def __init__(self, runner: Runner, lane: str = "") -> None:
        self.runner = runner
        self.lane = lane
        self.under_way: dict[int, Work] = {}
        """Claimed, by job."""
        self.claiming: set[int] = set()
        """Jobs whose claim is being committed."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.retired = False
        """Begins nothing more."""
        self._persons: dict[str, deque[Work]] = {}
        self._found: deque[Work] = deque()
        self._more = True
        self._turn = asyncio.Event()

    @property
    def key(self) -> Key:
        """Its kind and lane."""
        return self.kind, self.lane

    @property
    def label(self) -> str:
        """Its lane, as the log names it."""
        return self.lane

    @abstractmethod
    def room(self) -> int:
        """Returns the number of jobs that may begin now."""

    def pause(self) -> float:
        """Seconds until the next one may begin, as far as that is a matter of time."""
        return 0.0

    @abstractmethod
    async def perform(self, work: Work) -> None:
        """Does the work and stores its result."""

    async def look(self) -> list[Work]:
        """Returns what may begin now, `most` at a time."""
        return await self.runner.due(self)

    async def claim(self, chosen: list[Work]) -> list[Work]:
        """Claims work. Returns what of it is ours now."""
        runner = self.runner
        empty: set[int] = set()
        ids = [work.id for work in chosen]
        ours = await runner.claim(jobs.claim, empty, runner.owner, ids)
        return [work for work in chosen if work.id in ours]

    def wake(self) -> None:
        """Says that there may be something to do."""
        self._more = True
        self._turn.set()

    def turn(self) -> None:
        """Says that there may be room."""
        self._turn.set()

    def forget_found(self) -> None:
        """Drops what was looked up and not begun: others may be due before it by now."""
        self._found.clear()
        self._more = True

    def retire(self) -> None:
        """Begins nothing more; `live` returns when what is under way has ended.

        What is claimed and not begun waits again.
        """
        self.retired = True
        for line in self._persons.values():
            for work in line:
                del self.under_way[work.id]
            self.runner.give_back([work.id for work in line])
            line.clear()
        self._turn.set()

    async def live(self) -> None:
        """Does what is due, until it is retired."""
        while not self.retired:
            self._turn.clear()
            pause: float | None = self.pause() or None
            try:
                if await self._step():
                    continue
            except StoreUnavailable as error:
                log.warning(
                    "cannot look for work", kind=self.kind, lane=self.label, error=str(error)
                )
                self.forget_found()
                pause = STORE_PAUSE
            except Exception:
                log.exception("looking for work failed", kind=self.kind, lane=self.label)
                self.forget_found()
                pause = STORE_PAUSE
            if self.passing and not (self.under_way or self._found or self._more):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._turn.wait(), pause)
        if self.tasks:
            await asyncio.wait(self.tasks)

    def begin(self, work: Work) -> None:
        """Does what is claimed, behind what of the same person is under way."""
        self.under_way[work.id] = work
        key = work.person or (f"event {work.seq}" if work.seq else f"job {work.id}")
        line = self._persons.get(key)
        if line is not None:
            line.append(work)
            return
        self._persons[key] = deque([work])
        serve = partial(self._serve, key)
        task = self.runner.supervisor.begin("work of a person", serve)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def ended(self, work: Work) -> None:
        """Notes that nobody works on it any more."""
        self.under_way.pop(work.id, None)
        self._more |= self.one_each
        self._turn.set()

    async def _step(self) -> bool:
        """Begins as much as there is room for. Returns True if that was anything."""
        if self.pause() or self.room() <= 0 or not self.runner.leads():
            return False
        if not self._found and self._more:
            self._more = False  # what wakes it during the look counts
            found = await self.look()
            self._more |= len(found) == self.most
            self._found += found
        # Counted again: a failure during the look may have left no room.
        room = 0 if self.pause() or self.retired else self.room()
        chosen = [self._found.popleft() for _ in range(min(room, len(self._found)))]
        if not chosen:
            return False
        self.claiming = {work.id for work in chosen}
        try:
            claimed = await self.claim(chosen)
        except BaseException:
            # Its commit may be in the store nevertheless: the connection was lost, or this task is
            # being ended.
            self.runner.give_back(self.claiming)
            raise
        finally:
            self.claiming = set()
        self._more |= len(claimed) < len(chosen)
        for work in claimed:
            self.begin(work)
        return True

    async def _serve(self, key: str) -> None:
        line = self._persons[key]
        try:
            while line:
                work = line.popleft()
                try:
                    await self.perform(work)
                except Exception:  # it must not take those behind it along
                    log.exception(
                        "work failed inside", kind=self.kind, lane=self.label, job=work.id
                    )
                    again = partial(self.runner.retry, work, _RETRIES, BROKEN)
                    self.runner.supervisor.begin("failed work", again)
                finally:
                    self.ended(work)
        finally:
            del self._persons[key]
