"""Compares what today's handlers ask for with what was done when an event came.

Inline handlers are called as the intake calls them, which changes nothing. Other handlers do
things themselves, so they are named and not called. The subscription book and the opt-outs are
those of the moment before the event came, except that nobody who has opted out by now is messaged.
"""

from __future__ import annotations

import zlib
from collections import Counter

import msgspec

from receiver.events import Data, Event, encode_data
from receiver.handlers import Forward, People
from receiver.plugin_host.dispatch import Dispatcher, Plan
from receiver.providers import Registry
from receiver.store import HandleJob, ReplayRequest, ReplyState
from receiver.store.event_effects import Asked, Effect, EventMessage, take_text, undone
from receiver.store.people import StoredPeople
from receiver.store.replay_reads import ReplayEvent
from receiver.store.replies import handback

_encode = msgspec.json.Encoder().encode


class ReplyChange(msgspec.Struct, frozen=True, kw_only=True):
    """The reply that was given, and the reply of today's handlers; None: no reply."""

    then: str | None = None
    then_by: str | None = None
    """The handler; None where it is not known: answers do not say."""
    now: str | None = None
    now_by: str | None = None
    withheld: bool = False
    """The person has opted out: the reply of now would not be sent."""


class EventComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One event, and the differences between then and now."""

    seq: int
    event: Event[Data]
    reply: ReplyChange | None = None
    """None: the same as then."""
    added: tuple[Asked, ...] = ()
    """Actions that are asked for now and were not done."""
    unsent: tuple[EventMessage, ...] = ()
    """Messages that were sent then and no handler asks for now."""
    gone: tuple[Effect, ...] = ()
    """Other actions that were done then and no handler asks for now."""
    failing: tuple[HandleJob, ...] = ()
    """Handlers that fail now, with their errors."""
    later: tuple[str, ...] = ()
    """Handlers that would be called in the background."""
    forwards: int = 0
    """Forwards that are asked for now; whether they were done is not known."""
    missing: bool = False
    """Something was never done and can be done now."""
    digest: int = 0
    """A number for what is asked for now; see `digest`."""

    @property
    def differs(self) -> bool:
        """Returns whether today's outcome is another one."""
        return bool(self.reply or self.added or self.unsent or self.gone)

    def applies(self, *, again: bool) -> bool:
        """Returns whether there is something to do; `again`: also what was done already."""
        return bool(self.digest) if again else self.missing


class Totals(msgspec.Struct):
    """Counts of compared events."""

    events: int = 0
    same: int = 0
    different: int = 0
    failing: int = 0
    """With a handler that fails now; they may differ as well."""
    forwards: int = 0
    later: Counter[str] = msgspec.field(default_factory=Counter)
    """Events by the handler that would be called in the background."""

    def add(self, compared: EventComparison) -> None:
        """Counts one event."""
        self.events += 1
        self.failing += bool(compared.failing)
        self.different += compared.differs
        self.same += not (compared.differs or compared.failing)
        self.forwards += compared.forwards
        if compared.later:
            self.later.update(compared.later)


def compare(
    dispatcher: Dispatcher, people: StoredPeople, providers: Registry, happened: ReplayEvent
) -> EventComparison:
    """Calls the inline handlers for an event, and compares. Raises `StoreUnavailable`."""
    event = happened.event
    with people.before(happened.seq):
        plan = dispatcher.plan(event)
    asked = [
        (handler_actions.handler, action)
        for handler_actions in plan.handler_actions
        for action in handler_actions.actions
    ]
    if asked or happened.effects.messages or happened.effects.changes:
        added, messages, marks = undone(asked, happened.effects, event.source_name)
    else:
        added, messages, marks = [], [], []
    later = tuple([job.handler for job in plan.jobs if not job.attempts])
    reply = _reply(plan, people, providers, happened, messages, later)
    missing = bool(added)
    if reply is not None and reply.now and not reply.withheld:
        missing |= happened.never_replied
    return EventComparison(
        seq=happened.seq,
        event=event,
        reply=reply,
        added=tuple(added),
        # A handler that is called later may ask for it again; some things name no handler.
        unsent=tuple([one for one in messages if one.handler not in later]),
        gone=tuple([one for one in marks if not later or one.handler not in ("", *later)]),
        failing=tuple([job for job in plan.jobs if job.attempts]),
        later=later,
        forwards=sum(isinstance(action, Forward) for _, action in asked),
        missing=missing,
        digest=digest(plan),
    )


def digest(plan: Plan) -> int:
    """Returns a checksum of what is asked for; 0 for nothing."""
    later = [job.handler for job in plan.jobs if not job.attempts]
    if plan.reply is None and not plan.handler_actions and not later:
        return 0
    return zlib.crc32(_encode((plan.reply, plan.replied_by, plan.handler_actions, later))) or 1


def replay_request(plan: Plan, seq: int, *, again: bool) -> ReplayRequest:
    """Returns what is to be done for a stored event."""
    later = tuple(job.handler for job in plan.jobs if not job.attempts)
    return ReplayRequest(
        seq=seq,
        reply=plan.reply,
        replied_by=plan.replied_by,
        handler_actions=plan.handler_actions,
        # It is not known whether they have run before: a job that is done is deleted.
        handlers=later if again else (),
        again=again,
    )


def _reply(
    plan: Plan,
    people: People,
    providers: Registry,
    happened: ReplayEvent,
    messages: list[EventMessage],
    later: tuple[str, ...],
) -> ReplyChange | None:
    """Returns the difference in the reply. Takes the replies of then out of `messages`."""
    answered, sent = _replies_of_then(happened, messages, providers)
    now = plan.reply.text if plan.reply is not None else ""
    withheld = False
    if now:
        if now == answered or take_text(list(sent), now):
            return None
        withheld = _is_withheld(plan, people, happened.event)
        if (withheld and happened.withheld) or (happened.held_back and not (answered or sent)):
            return None
    elif not (answered or sent):
        return None
    elif later and (not sent or sent[-1].handler in later):
        return None  # a handler that is called later may reply the same
    then_by = sent[-1].handler if sent else None
    pieces = [message.text for message in sent if message.handler == then_by]
    return ReplyChange(
        then=" ".join(pieces) or answered or None,
        then_by=then_by,
        now=now or None,
        now_by=plan.replied_by if now else None,
        withheld=withheld,
    )


def _replies_of_then(
    happened: ReplayEvent, messages: list[EventMessage], providers: Registry
) -> tuple[str, list[EventMessage]]:
    """Returns the reply in the answer, or empty, and the replies that were sent as messages."""
    event = happened.event
    provider = providers.find(event.provider)
    answered = provider.reply_in(happened.answer) if provider is not None else ""
    if happened.reply not in (ReplyState.GIVEN, ReplyState.SENT) or not messages:
        return answered, []
    sent = [message for message in messages if _is_reply(message, event)]
    for message in sent:
        messages.remove(message)
    return answered, sent


def _is_reply(message: EventMessage, event: Event[Data]) -> bool:
    """Returns whether a message has the address and ids that replies have."""
    back = handback(encode_data(event.data))
    return (message.to, message.sender, message.service_id, message.link_id) == (
        event.subject,
        back.ours(event.subject),
        back.service_id,
        back.link_id,
    )


def _is_withheld(plan: Plan, people: People, event: Event[Data]) -> bool:
    """Returns whether the person must not be messaged now."""
    if plan.reply is None or plan.reply.even_if_opted_out or event.subject is None:
        return False
    back = handback(encode_data(event.data))
    ours = back.ours(event.subject)
    return people.has_opted_out(event.subject, short_code=ours, service_id=back.service_id)
