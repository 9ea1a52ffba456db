"""Differences that a replay found, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from receiver.actions import Action, Flag, OptIn, OptOut, Send, Subscribe, Unsubscribe
from receiver.events import SHORT_ID
from receiver.service.replay import Applied
from receiver.service.replay_compare import EventComparison, ReplyChange, Totals
from receiver.store.event_effects import Effect
from receiver.views.times import format_time


def comparison_lines(compared: EventComparison) -> Iterator[str]:
    """Yields a line for each difference of an event, or one line if there is none."""
    event = compared.event
    head = f"{event.id[:SHORT_ID]}  {format_time(event.receivedat)}  {event.subject or '':<13}"
    found = False
    for what in differences(compared):
        found = True
        yield f"{head}  {what}"
    if not found:
        yield f"{head}  as then"


def differences(compared: EventComparison) -> Iterator[str]:
    """Yields what would differ, each in words: what was then, and what is now."""
    if compared.reply is not None:
        yield _reply(compared.reply)
    for handler, action in compared.added:
        yield f"not done → {_action(action)} by {handler}"
    for message in compared.unsent:
        sent = f"send to {message.to}: {message.text!r} by {message.handler}"
        yield f"{sent} → not asked for"
    for left in compared.gone:
        yield f"{_left(left)} → not asked for"
    for job in compared.failing:
        yield f"{job.handler} fails now: {job.error}"
    if compared.later:
        yield f"would be called: {', '.join(compared.later)}"


def _reply(change: ReplyChange) -> str:
    then = _text(change.then, change.then_by)
    now = _text(change.now, change.now_by)
    withheld = ", withheld: opted out" if change.withheld else ""
    return f"reply: {then} → {now}{withheld}"


def _text(text: str | None, by: str | None) -> str:
    if text is None:
        return "none"
    return f"{text!r} by {by}" if by else repr(text)


def _action(action: Action) -> str:
    match action:
        case Send():
            more = f" and {len(action.others)} others" if action.others else ""
            return f"send to {action.to}{more}: {action.text!r}"
        case Flag(reason):
            return f"flag: {reason}"
    kind = str(msgspec.to_builtins(action)["type"])
    if not isinstance(action, Subscribe | Unsubscribe | OptOut | OptIn):
        return kind
    code = f" on {action.short_code}" if action.short_code else ""
    service = f" service {action.service_id}" if action.service_id else ""
    return f"{kind} {action.msisdn}{code}{service}"


def _left(left: Effect) -> str:
    kind, *about = left.key
    by = f" by {left.handler}" if left.handler else ""
    return f"{kind} {' '.join(filter(None, about))}{by}"


def comparison_json(compared: EventComparison) -> dict[str, Any]:
    """Returns the fields of a comparison for JSON."""
    event = compared.event
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source_name,
        "received": event.receivedat,
        "person": event.subject,
        "differs": compared.differs,
        "reply": compared.reply,
        "added": [{"handler": handler, "action": action} for handler, action in compared.added],
        "gone": [
            *(
                {
                    "handler": sent.handler,
                    "action": {"type": "send", "to": sent.to, "text": sent.text},
                }
                for sent in compared.unsent
            ),
            *({"handler": left.handler or None, "action": _trace(left)} for left in compared.gone),
        ],
        "failing": [{"handler": job.handler, "error": job.error} for job in compared.failing],
        "later": compared.later,
        "forwards": compared.forwards,
    }


#: By kind of action: the names of the values that follow it in a trace.
_FIELDS = {
    "subscribe": ("source", "short_code", "service_id", "msisdn"),
    "unsubscribe": ("source", "short_code", "service_id", "msisdn"),
    "opt_out": ("msisdn", "short_code", "service_id"),
    "opt_in": ("msisdn", "short_code", "service_id"),
    "flag": ("reason",),
}


def _trace(left: Effect) -> dict[str, Any]:
    kind, *about = left.key
    named = zip(_FIELDS[kind], about, strict=True)
    return {"type": kind, **{name: value or None for name, value in named}}


def summary_lines(totals: Totals, applied: Applied | None, *, finished: bool) -> Iterator[str]:
    """Yields the lines after the last event."""
    until = "" if finished else "stopped after "
    yield (
        f"{until}{totals.events:,} events: {totals.same:,} as then, {totals.different:,} different,"
        f" {totals.failing:,} with a handler that fails now"
    )
    for handler, count in sorted(totals.later.items()):
        yield f"would be called later, not run here: {handler} ({count:,} events)"
    if totals.forwards:
        yield f"forwards asked for: {totals.forwards:,}; whether they were done is not known"
    if applied is not None:
        yield (
            f"done for {applied.events:,} events: {applied.replies:,} replies to be sent,"
            f" {applied.actions:,} actions, {applied.handlers:,} handlers to be called"
        )
