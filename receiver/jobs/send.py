"""Sends messages: takes from the store what is due, once, within what the provider allows.

A message is marked as being sent before its request leaves, and its result is stored after it.
What ends between the two, by a crash or without an answer, is *unknown*: it may be on a phone
already, so it is not sent again, but waits for a delivery report. What was certainly not sent
is tried again with growing pauses, as long as it is worth it, and then becomes a dead letter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import structlog

from receiver.actions import OptOut
from receiver.errors import ProviderError, StoreUnavailable
from receiver.events import Status
from receiver.jobs.channel import Line, every, next_try
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract import Request
from receiver.store import Attempt, Failure, Store, StoredMessage
from receiver.store.jobs import OPERATOR, by_operator
from receiver.store.opt_outs import opt_out
from receiver.text.sms_length import split

log = structlog.get_logger("receiver.jobs.send")

#: Seconds until what became of a message is asked for the first time.
FIRST_POLL = 2.0
#: Seconds between looks into the store for messages that are due.
_POLL = 0.2
#: Messages taken from the store at once.
_BATCH = 200
#: Seconds that requests under way are given when the service stops.
_GRACE = 10.0
#: Seconds between tries to store what became of a message.
_STORE_PAUSE = 1.0
#: Seconds between looks for reports that nobody waits for any more.
_TIDY = 60.0
_TIDY_STEPS = 600

_BROKEN = "internal error; see the log of the service"
_NO_LINE = "the source cannot send: it has no [sources.{}.send]; add its api_key"


class Outbox:
    """One worker for each source that sends."""

    def __init__(self, lines: Iterable[Line], store: Store, clock: Callable[[], datetime]) -> None:
        self._lines = {line.name: line for line in lines}
        self._store = store
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._chores: list[asyncio.Task[None]] = []
        self._workers: dict[str, asyncio.Task[None]] = {}
        """By source; the last that worked for it."""
        self._stopping = False

    async def recover(self) -> None:
        """Notes of what the last process was sending that nobody knows what became of it."""
        resend = [line.name for line in self._lines.values() if line.settings.resend_unknown]
        lost = await self._store.recover_messages(self._clock(), resend)
        if lost:
            log.warning("messages were under way when the process ended", messages=lost)

    def start(self) -> None:
        """Begins to send."""
        self._chores = [
            asyncio.create_task(every(seconds, chore))
            for seconds, chore in ((_STORE_PAUSE, self._refuse_homeless), (_TIDY, self._tidy))
        ]
        for line in self._lines.values():
            self._open(line)

    def adopt(self, lines: Iterable[Line]) -> dict[str, asyncio.Task[None]]:
        """Goes on with these lines.

        Through one that is gone or replaced begins nothing more. Its worker, by its source, ends
        when the requests under way do; only then begins the one that takes its place, so that
        nobody gets two messages in the wrong order.
        """
        old, self._lines = self._lines, {line.name: line for line in lines}
        leaving = {}
        for name, line in old.items():
            if self._lines.get(name) is not line:
                leaving[name] = self._workers[name]
                line.wake()
        for name, line in self._lines.items():
            if old.get(name) is not line:
                self._open(line)
        return leaving

    async def stop(self) -> None:
        """Begins no more messages, and gives the requests under way a moment."""
        self._stopping = True
        for line in self._lines.values():
            line.wake()
        for task in self._chores:
            task.cancel()
        workers = self._workers.values()
        if workers:  # not cancelled: what they have begun must leave
            await asyncio.wait(workers, timeout=_GRACE)
        for task in (*workers, *self._tasks):  # the next start finds what they were about
            task.cancel()
        await asyncio.gather(*workers, *self._tasks, *self._chores, return_exceptions=True)

    def _open(self, line: Line) -> None:
        before = self._workers.get(line.name)
        self._workers[line.name] = asyncio.create_task(self._work(line, before))

    async def _work(self, line: Line, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        requests: set[asyncio.Task[None]] = set()
        await self._serve(line, requests)
        if requests:
            await asyncio.wait(requests)

    def _ended(self, line: Line) -> bool:
        return self._stopping or self._lines.get(line.name) is not line

    async def _serve(self, line: Line, requests: set[asyncio.Task[None]]) -> None:
        """Sends what is due through a line, one message at a time for each person."""
        waiting: deque[StoredMessage] = deque()
        busy: set[str] = set()
        remembered = False
        while not self._ended(line):
            try:
                if not remembered:
                    await self._remember(line)
                    remembered = True
                await self._step(line, waiting, busy, requests)
            except StoreUnavailable as error:
                log.warning("cannot look for messages", source=line.name, error=str(error))
                waiting.clear()
                await line.wait(_STORE_PAUSE)
            except Exception:
                log.exception("outbox failed", source=line.name)
                waiting.clear()
                await line.wait(_STORE_PAUSE)

    async def _step(
        self,
        line: Line,
        waiting: deque[StoredMessage],
        busy: set[str],
        requests: set[asyncio.Task[None]],
    ) -> None:
        """Begins as many messages as there is room for now, or waits until there may be some."""
        if (pause := line.pause()) or line.room <= 0:
            await line.wait(pause or _POLL)
            return
        if not waiting:
            waiting += await self._due(line.name)
        chosen = _choose(waiting, busy, line.room)
        started = await self._begin(line, chosen) if chosen else []
        for message, request in started:
            busy.add(message.to)
            line.reserve()
            task = asyncio.create_task(self._send(line, message, request, busy))
            for tasks in (requests, self._tasks):
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        if not started and not self._ended(line):
            await line.wait(_POLL)

    async def _remember(self, line: Line) -> None:
        """Counts what the last process sent within the provider's minute."""
        now = self._clock()
        since = now - timedelta(minutes=1)
        for moment in await self._store.reader.messages.attempts(line.name, since):
            line.window.take((now - moment).total_seconds())

    async def _due(self, source: str) -> list[StoredMessage]:
        reader = self._store.reader.messages
        return await reader.due(source, "send", self._clock(), limit=_BATCH)

    async def _begin(
        self, line: Line, chosen: list[StoredMessage]
    ) -> list[tuple[StoredMessage, Request[Sent]]]:
        """Marks messages as being sent, those that may be."""
        ready, attempts = [], []
        for message in chosen:
            outgoing = outgoing_of(message, line)
            request = await self._prepare(line, message, outgoing)
            if request is not None:
                ready.append((message, request))
                sender, service = line.api.sender(outgoing), line.api.service(outgoing)
                attempts.append(Attempt(message.id, outgoing.to, sender, service))
        if not attempts:
            return []
        ttl = timedelta(seconds=line.settings.link_id_ttl)
        gone = await self._store.begin_messages(attempts, self._clock(), ttl)
        for (message, _), why in zip(ready, gone, strict=True):
            if why is not None:
                log.info("message not sent", message=message.id, source=line.name, why=why.error)
        return [pair for pair, why in zip(ready, gone, strict=True) if why is None]

    async def _prepare(
        self, line: Line, message: StoredMessage, outgoing: OutgoingMessage
    ) -> Request[Sent] | None:
        """The request to make; None if the provider could not take it: it is split or dead."""
        now = self._clock()
        life = timedelta(seconds=line.settings.give_up_after)
        if now - message.created_at > life and now > await self._worth(line, message):
            why = Failure("it waited longer than send.give_up_after", Status.EXPIRED)
            await self._store.kill_message(message.id, now, why)
            return None
        try:
            line.api.check(outgoing)
            return line.api.send(outgoing)
        except ProviderError as error:
            pieces = _pieces(line, outgoing)
            if pieces:
                await self._store.split_message(message.id, pieces, now)
            else:
                why = Failure(str(error), Status.REJECTED, error.code)
                await self._store.kill_message(message.id, now, why)
        except Exception:  # it must not keep those after it from being sent
            log.exception("message cannot be sent", message=message.id, source=line.name)
            await self._store.kill_message(message.id, now, Failure(_BROKEN))
        return None

    async def _send(
        self, line: Line, message: StoredMessage, request: Request[Sent], busy: set[str]
    ) -> None:
        try:
            await self._keep(await self._result(line, message, request))
        except Exception:
            log.exception("message lost sight of", message=message.id, source=line.name)
        finally:
            busy.discard(message.to)

    async def _result(
        self, line: Line, message: StoredMessage, request: Request[Sent]
    ) -> Callable[[], Awaitable[None]]:
        """Sends a message; what is to be stored about it."""
        try:
            sent = await line.call(request)
        except ProviderError as error:
            return partial(self._stopped, line, message, error)
        except Exception:
            log.exception("sending failed", message=message.id, source=line.name)
            broken = ProviderError(_BROKEN, unknown=True)
            return partial(self._stopped, line, message, broken)
        return partial(self._sent, line, message, sent)

    async def _sent(self, line: Line, message: StoredMessage, sent: Sent) -> None:
        now = self._clock()
        polls = line.polls and sent.message_id is not None and not sent.status.final
        poll_at = now + timedelta(seconds=FIRST_POLL) if polls else None
        await self._store.message_sent(message.id, now, sent, poll_at)

    async def _stopped(self, line: Line, message: StoredMessage, error: ProviderError) -> None:
        """Nothing was sent, or nobody knows."""
        worth = await self._worth(line, message)
        now, store = self._clock(), self._store
        log.info(
            "message not sent" if not error.unknown else "message unknown",
            message=message.id,
            source=line.name,
            code=error.code,
        )
        if error.opted_out:
            await store.run(opt_out, by_operator(now), OPERATOR, OptOut(message.to, "network"))
        if error.link_invalid:
            await store.mark_link(message.id, now)
        if error.unknown and not line.settings.resend_unknown:
            await store.lose_message(
                message.id, now, Failure(error.words, Status.UNKNOWN, error.code)
            )
            return
        due = next_try(now, message.attempts, error.retry_after, worth)
        if not (error.retryable or error.unknown):
            why = Failure(error.words, Status.REJECTED, error.code)
            await store.kill_message(message.id, now, why)
        elif due is None:
            why = Failure(f"given up: {error.words}", Status.FAILED, error.code)
            await store.kill_message(message.id, now, why)
        else:
            why = Failure(error.words, Status.QUEUED, error.code)
            await store.put_off_message(message.id, now, due, why)

    async def _worth(self, line: Line, message: StoredMessage) -> datetime:
        """Until when a message is worth sending.

        Asked of the store: the clock may have been set, and the message moved, since it was read.
        """
        found = await self._store.reader.messages.find(id_=message.id) or [message]
        return found[0].created_at + timedelta(seconds=line.settings.give_up_after)

    async def _keep(self, change: Callable[[], Awaitable[None]]) -> None:
        """Stores what became of a message, however long the store takes to take it."""
        while True:
            try:
                return await change()
            except StoreUnavailable as error:
                log.warning("cannot store what became of a message", error=str(error))
                await asyncio.sleep(_STORE_PAUSE)

    async def _refuse_homeless(self) -> None:
        """Messages of sources that cannot send are dead letters, not forgotten."""
        lines = list(self._lines)
        for message in await self._store.reader.messages.homeless(lines, limit=_BATCH):
            why = Failure(_NO_LINE.format(message.source), Status.REJECTED)
            await self._store.kill_message(message.id, self._clock(), why)

    async def _tidy(self) -> None:
        """Lets go of reports that found no message, a few at a time."""
        for _ in range(_TIDY_STEPS):
            if not await self._store.forget_reports(self._clock()):
                break
            await asyncio.sleep(_STORE_PAUSE)


def outgoing_of(message: StoredMessage, line: Line) -> OutgoingMessage:
    """What the provider is to be told."""
    return OutgoingMessage(
        to=message.to,
        text=message.text,
        sender=message.sender,
        service_id=message.service_id,
        link_id=message.link_id,
    )


def _choose(waiting: deque[StoredMessage], busy: set[str], room: int) -> list[StoredMessage]:
    """The first of those that wait, none for somebody to whom another is on its way."""
    chosen: list[StoredMessage] = []
    taken = set(busy)
    for _ in range(len(waiting)):
        if len(chosen) == room:
            break
        message = waiting.popleft()
        if message.to in taken:
            continue  # the next look into the store finds it again
        taken.add(message.to)
        chosen.append(message)
    return chosen


def _pieces(line: Line, outgoing: OutgoingMessage) -> list[str]:
    """The text in pieces that the provider takes; empty where it must not be split."""
    limit = line.api.max_text
    if limit is None or not line.settings.split or not line.api.too_long(outgoing):
        return []
    # A link_id is good for one message.
    return [] if outgoing.link_id else split(outgoing.text, limit)
