"""Sends messages: once, within what the provider allows, to each person one after the other.

A message is claimed and marked as being sent in one commit before its request leaves, and its
result is stored after it. What ends between the two, by a crash or without an answer, is *unknown*:
it may be on a phone already, so it is not sent again, but waits for a delivery report. What was
certainly not sent is tried again with growing pauses, as long as it is worth it, and then becomes a
dead letter.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from receiver.errors import ProviderError, StoreUnavailable
from receiver.events import Status
from receiver.jobs.channel import Line
from receiver.jobs.outcomes import MessageQueue
from receiver.jobs.queue import BROKEN
from receiver.jobs.runner import Runner
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract import Request
from receiver.store import Failure, StoredMessage, Work, links, messages
from receiver.store.messages import Outcome
from receiver.text.sms_length import split

log = structlog.get_logger("receiver.jobs.send")

#: The reason why nothing is sent through a source.
NO_LINE = "the source cannot send: it has no [sources.{}.send]; add its api_key"


class Send(MessageQueue):
    """The messages of one source."""

    kind = "send"

    @property
    def urgent(self) -> bool:
        """True if a message waits for room: most are replies."""
        return bool(self._found) and not self.retired

    def room(self) -> int:
        """As the line has it."""
        return self.line.room

    async def claim(self, chosen: list[Work]) -> list[Work]:
        """Marks messages as being sent, those that may be."""
        await self.line.remember(self.runner)
        ready, attempts = [], []
        for work in chosen[: self.line.room]:
            message = work.message
            assert message is not None
            outgoing = outgoing_of(message)
            request = await self._prepare(work, message, outgoing)
            if request is not None:
                ready.append((work, request))
                attempts.append(self.attempt(message.id, outgoing))
        if not attempts:
            return []
        runner, ttl = self.runner, round(self.line.settings.link_id_ttl * 1e6)
        elsewhere: list[Failure | None] = [Failure("another receiver sends now")] * len(attempts)
        values = attempts, runner.now(), ttl, runner.owner
        gone = await runner.claim(messages.begin, elsewhere, *values)
        begun = []
        for (work, request), why in zip(ready, gone, strict=True):
            if why is None:
                begun.append(replace(work, prepared=request))
                self.line.reserve()
            else:
                log.info("message not sent", job=work.id, source=self.lane, why=why.error)
        return begun

    async def perform(self, work: Work) -> None:
        """Makes the request and stores its result."""
        message, runner = work.message, self.runner
        request: Request[Sent] = work.prepared
        assert message is not None
        try:
            sent = await self.line.call(request)
        except ProviderError as error:
            outcome = await self._stopped(work, message, error)
        else:
            outcome = self.taken(message.id, sent)
        await runner.insist(lambda: runner.store.join(messages.settle, outcome))

    async def _prepare(
        self, work: Work, message: StoredMessage, outgoing: OutgoingMessage
    ) -> Request[Sent] | None:
        """The request to make; None if the provider could not take it: it is split or dead."""
        line, store, clock = self.line, self.runner.store, self.runner.clock
        life = timedelta(seconds=line.settings.give_up_after)
        why = Failure(BROKEN)
        try:
            if clock() - work.since > life and clock() > await self._worth(work, message):
                why = Failure("it waited longer than send.give_up_after", Status.EXPIRED)
            else:
                line.api.check(outgoing)
                return line.api.send(outgoing)
        except ProviderError as error:
            if pieces := _pieces(line, outgoing):
                await store.run(messages.split, message.id, self.runner.now(), pieces)
                return None
            why = Failure(str(error), Status.REJECTED, error.code)
        except Exception:  # it must not keep those after it from being sent
            log.exception("message cannot be sent", message=message.id, source=line.name)
        await store.run(messages.kill, message.id, self.runner.now(), why)
        return None

    async def _stopped(self, work: Work, message: StoredMessage, error: ProviderError) -> Outcome:
        """Nothing was sent, or nobody knows."""
        said = "message unknown" if error.unknown else "message not sent"
        log.info(said, message=message.id, source=self.lane, code=error.code)
        runner = self.runner
        if error.opted_out:
            await self.note_opt_out(message.to)
        if error.link_invalid:
            await runner.commit(links.mark_link, message.id, runner.now())
        if (outcome := self.final(message.id, error)) is not None:
            return outcome
        worth = await self._worth(work, message)
        due = self.next_try(message.attempts + 1, error, worth)
        return self.put_off(message.id, error, due)

    async def _worth(self, work: Work, message: StoredMessage) -> datetime:
        """Until when a message is worth sending.

        Asked of the store: the clock may have been set, and the job moved, since it was read.
        """
        since = None
        with suppress(StoreUnavailable):
            since = await self.runner.store.reader.work.sending_since(message.id)
        return (since or work.since) + timedelta(seconds=self.line.settings.give_up_after)


async def refuse(runner: Runner, source: str) -> None:
    """Messages of a source that cannot send are dead letters, not forgotten."""
    why = Failure(NO_LINE.format(source), Status.REJECTED)
    while found := await runner.store.reader.work.due(Send.kind, source, runner.clock(), limit=200):
        for work in found:
            assert work.message is not None
            await runner.store.run(messages.kill, work.message.id, runner.now(), why)


def outgoing_of(message: StoredMessage) -> OutgoingMessage:
    """Returns the part of a message that its provider needs."""
    return OutgoingMessage(
        to=message.to,
        text=message.text,
        sender=message.sender,
        service_id=message.service_id,
        link_id=message.link_id,
    )


def _pieces(line: Line, outgoing: OutgoingMessage) -> list[str]:
    """The text in pieces that the provider takes; empty where it must not be split."""
    limit = line.api.max_text
    if limit is None or not line.settings.split or not line.api.too_long(outgoing):
        return []
    # A link_id is good for one message.
    return [] if outgoing.link_id else split(outgoing.text, limit)
