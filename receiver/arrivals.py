"""From pushes that were found right to what is stored of them, step by step for many at once.

A push waits for the commit that holds it, so nothing need be made of it before that commit is about
to begin. By then others have come. Each step is done for all of them before the next one is: the
program, the rules and the tables that it needs are in the processor's cache from the second
push on, where one push after the other would find them gone each time (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from receiver import guard
from receiver.actions import Reply
from receiver.dispatch import Plan
from receiver.endpoint import Endpoint
from receiver.events import Data, DeliveryReport, Event, EventIds, encode_data
from receiver.guard import Guard
from receiver.providers import Answer, Parsed, Push
from receiver.request_log import Entry
from receiver.store import EventRow, ReplyState, Report, pack_request, to_micros
from receiver.store import Intake as Stored

#: What is replied where a reply is held back: nothing, and nothing later either.
_SILENCE = Reply("")
#: Headers that say nothing about a push; all others are kept with the event.
_UNINTERESTING = frozenset(
    b"accept accept-encoding accept-language cache-control connection content-length cookie host"
    b" pragma user-agent x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
)


class Arrival:
    """A push on its way into the store. Each step sets what the following ones need."""

    __slots__ = (
        "abandoned",
        "endpoint",
        "entry",
        "event",
        "held",
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
        self, endpoint: Endpoint, push: Push, parsed: Parsed, plain: Answer, entry: Entry
    ) -> None:
        """`plain`: the answer without a reply."""
        self.endpoint = endpoint
        self.push = push
        self.parsed = parsed
        self.plain = plain
        self.entry = entry
        self.seq = 0
        self.abandoned = False
        """Nobody waits for its answer any more."""
        self.held: str | None = None
        """Why there must be no reply."""
        self.note: str | None = None
        """What a person should know of the event: that a reply was held back."""

    def identify(self, ids: EventIds) -> None:
        """Makes the event."""
        endpoint, push, parsed = self.endpoint, self.push, self.parsed
        self.received_at = to_micros(push.received_at)
        self.seq = ids.next(self.received_at)
        self.event = Event(
            id=ids.text(self.seq),
            source=endpoint.path,
            type=str(parsed.type),  # a plain str: SQLite and dictionaries are slow with others
            time=parsed.time,
            subject=parsed.subject,
            provider=endpoint.provider.name,
            receivedat=push.received_at,
            data=parsed.data,
        )

    def ask(self) -> None:
        """Asks the inline handlers."""
        self.plan = self.endpoint.dispatcher.plan(self.event)

    def judge(self, loop_guard: Guard) -> None:
        """Has the loop guard look at what may be replied to."""
        if self.plan.reply is not None or self.plan.jobs:
            self.held = loop_guard.judge(self.event, self.parsed.key, self.received_at // 1000)

    def record(self) -> Stored:
        """What to store."""
        endpoint, push, parsed, plan = self.endpoint, self.push, self.parsed, self.plan
        provider, reply = endpoint.provider, plan.reply
        if self.held is not None and reply is not None and reply.text:
            reply, self.note = _SILENCE, guard.note(self.held)
        in_answer = (reply is not None or bool(plan.jobs)) and provider.takes_reply(parsed)
        answer = self.plain.body
        state: int = ReplyState.NONE
        if reply is not None:
            state = ReplyState.GIVEN
            if reply.text and in_answer:
                answer = provider.acknowledge(push, parsed, reply.text).body
        elif in_answer and any(not job.attempts for job in plan.jobs):
            state = ReplyState.OPEN
        headers = [header for header in push.headers if header[0] not in _UNINTERESTING]
        row = EventRow(
            self.seq,
            endpoint.name,
            parsed.key,
            provider.name,
            self.event.type,
            self.event.subject,
            to_micros(parsed.time),
            self.received_at,
            encode_data(parsed.data),
            answer,
            state,
            pack_request(push.method, push.token, push.query, headers, push.body, push.client),
            self.note,
        )
        return Stored(
            row=row,
            plain_answer=self.plain.body,
            reply=reply,
            replied_by=plan.replied_by,
            reply_in_answer=in_answer,
            wishes=plan.wishes,
            jobs=plan.jobs,
            report=_report(endpoint, parsed),
        )


def records(
    arrivals: Sequence[Arrival], ids: EventIds, loop_guard: Guard
) -> list[Stored | Exception]:
    """What to store of each push, or why that failed."""
    began = perf_counter()
    try:
        for arrival in arrivals:
            arrival.identify(ids)
        for arrival in arrivals:
            arrival.ask()
        for arrival in arrivals:
            arrival.judge(loop_guard)
        made: list[Stored | Exception] = [arrival.record() for arrival in arrivals]
    except Exception as error:  # noqa: BLE001 - it is told where the push is waited for
        if len(arrivals) == 1:
            return [error]
        # One of them is to blame, the others are not. That they are asked and judged again changes
        # nothing: handlers are pure, and the guard knows who came just before.
        return [each for arrival in arrivals for each in records([arrival], ids, loop_guard)]
    took = perf_counter() - began
    for arrival in arrivals:
        arrival.entry.planned = arrival.entry.parsed + took
    return made


def _report(endpoint: Endpoint, parsed: Parsed) -> Report | None:
    """What the store needs to join a delivery report to a message of ours."""
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
