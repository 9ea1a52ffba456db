"""Makes the records of events that authenticated pushes tell, step by step for many at once.

An event waits for its commit, so its record is made just before that begins, together with those of
other pushes. Each step runs for all pushes before the next step: its code and tables stay in the
processor's cache from the second push on (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from time import perf_counter

import msgspec

from receiver.actions import SILENCE
from receiver.events import Data, DeliveryReport, Event, encode_data
from receiver.intake.endpoint import Endpoint
from receiver.logs.requests import Entry
from receiver.plugin_host.dispatch import Plan
from receiver.plugin_host.loop_guard import Guard, held_back
from receiver.providers import Answer, Parsed, Push
from receiver.store import (
    EventRow,
    ReplyState,
    Report,
    StoredPush,
    answered_by,
    noted,
    pack_request,
    to_micros,
)
from receiver.store.ids import EventIds
from receiver.text.times import SKEW

#: Headers that are not kept with the event, since they say nothing about the push.
_UNINTERESTING = frozenset(
    b"accept accept-encoding accept-language cache-control connection content-length cookie host"
    b" pragma user-agent x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
)


class Arrival:
    """An event on its way into the store. Each step sets fields that the following steps need."""

    __slots__ = (
        "abandoned",
        "answered",
        "bundled",
        "endpoint",
        "entry",
        "event",
        "held",
        "judged",
        "note",
        "parsed",
        "plain",
        "plan",
        "push",
        "received_at",
        "seq",
    )

    received_at: int
    event: Event[Data]
    plan: Plan

    def __init__(
        self,
        endpoint: Endpoint,
        push: Push,
        parsed: Parsed,
        plain: Answer,
        entry: Entry,
        *,
        answered: bool = True,
        bundled: bool = False,
    ) -> None:
        """`plain`: the answer without a reply; `answered`: True if the answer reaches somebody.

        `bundled`: the push is in a bundle (`receiver.intake.bundles`), which keeps its request.
        """
        self.endpoint = endpoint
        self.push = push
        self.parsed = parsed
        self.plain = plain
        self.entry = entry
        self.answered = answered
        self.bundled = bundled
        self.seq = 0
        self.abandoned = False
        """Nobody waits for its answer any more."""
        self.judged = False
        """The loop guard has looked at it."""
        self.held: str | None = None
        """Why there must be no reply."""
        self.note: str | None = None
        """The note of the event for people: that a reply was held back."""

    def identify(self, ids: EventIds) -> None:
        """Makes the event."""
        endpoint, push, parsed = self.endpoint, self.push, self.parsed
        self.received_at = to_micros(push.received_at)
        self.seq = ids.next(self.received_at)
        time = parsed.time
        if time > push.received_at and time - push.received_at > SKEW:
            time = push.received_at
        self.event = Event(
            id=ids.text(self.seq),
            source=endpoint.path,
            type=str(parsed.type),  # a plain str is faster than a subclass
            time=time,
            subject=parsed.subject,
            provider=endpoint.provider.name,
            receivedat=push.received_at,
            data=parsed.data,
        )

    def ask(self) -> None:
        """Asks the inline handlers."""
        self.plan = self.endpoint.dispatcher.plan(self.event)

    def judge(self, loop_guard: Guard) -> None:
        """Asks the loop guard if the event may be replied to."""
        plan = self.plan
        if plan.reply is None and not plan.jobs:
            return
        if not self.judged:  # once, also if its record is made a second time
            at = self.received_at // 1000
            self.held = loop_guard.judge(self.event, self.parsed.key, at)
            self.judged = True
        if self.held is not None and plan.jobs:  # the verdict is stored with the jobs
            jobs = tuple(msgspec.structs.replace(job, held=self.held) for job in plan.jobs)
            self.plan = msgspec.structs.replace(plan, jobs=jobs)

    def record(self) -> StoredPush:
        """Returns the record to store."""
        endpoint, push, parsed, plan = self.endpoint, self.push, self.parsed, self.plan
        provider, reply = endpoint.provider, plan.reply
        by = None if reply is None else answered_by(plan.replied_by, reply)
        if self.held is not None and reply is not None and reply.text:
            reply, self.note = SILENCE, held_back(self.held)
        in_answer = (
            (reply is not None or bool(plan.jobs))
            and self.answered
            and provider.takes_reply(parsed)
        )
        answer = self.plain.body
        state: int = ReplyState.NONE
        if reply is not None:
            state = ReplyState.SENT if reply.text else ReplyState.SILENT
            if reply.text and in_answer:
                state = ReplyState.GIVEN
                answer = provider.acknowledge(push, parsed, reply.text).body
        elif in_answer and any(not job.attempts for job in plan.jobs):
            state = ReplyState.OPEN
        note = self.note
        if self.event.time is not parsed.time:
            note = _corrected(parsed.time, note)
        for word in push.notes:
            note = noted(word, note)
        row = EventRow(
            self.seq,
            endpoint.name,
            parsed.key,
            provider.name,
            self.event.type,
            self.event.subject,
            to_micros(self.event.time),
            self.received_at,
            encode_data(parsed.data),
            answer,
            state,
            b"" if self.bundled else request_of(push),
            note,
            by,
        )
        return StoredPush(
            row=row,
            plain_answer=self.plain.body,
            reply=reply,
            replied_by=plan.replied_by,
            reply_in_answer=in_answer,
            handler_actions=plan.handler_actions,
            jobs=plan.jobs,
            report=_report(endpoint, parsed),
        )


def records(
    arrivals: Sequence[Arrival], ids: EventIds, loop_guard: Guard
) -> list[StoredPush | Exception]:
    """Returns the record of each event, or the exception that prevented it."""
    began = perf_counter()
    try:
        for arrival in arrivals:
            arrival.identify(ids)
        for arrival in arrivals:
            arrival.ask()
        for arrival in arrivals:
            arrival.judge(loop_guard)
        made: list[StoredPush | Exception] = [arrival.record() for arrival in arrivals]
    except Exception as error:  # noqa: BLE001 - it is told where the push is waited for
        if len(arrivals) == 1:
            return [error]
        # One of them failed: the others are made alone. Inline handlers are pure, so they can be
        # asked again.
        return [each for arrival in arrivals for each in records([arrival], ids, loop_guard)]
    took = perf_counter() - began
    for arrival in arrivals:
        arrival.entry.planned = arrival.entry.parsed + took
    return made


def request_of(push: Push) -> bytes:
    """Returns a push as it is kept with its event."""
    headers = [header for header in push.headers if header[0] not in _UNINTERESTING]
    return pack_request(push.method, push.token, push.query, headers, push.body, push.client)


def _corrected(said: datetime, note: str | None) -> str:
    """Returns the note of an event whose time was corrected: the provider's is in the future."""
    word = f"time of arrival taken: the provider's is {said:%Y-%m-%d %H:%M:%S} UTC"
    return word if note is None else noted(note, word)


def _report(endpoint: Endpoint, parsed: Parsed) -> Report | None:
    """Returns the fields by which the store finds the message of a delivery report."""
    data = parsed.data
    if not isinstance(data, DeliveryReport) or endpoint.api is None:
        return None
    return Report(
        message_id=data.message_id,
        status=data.status,
        text=parsed.text,
        foreign_ids=endpoint.api.foreign_ids,
        link_invalid=parsed.link_invalid,
        opted_out=data.opted_out,
    )
