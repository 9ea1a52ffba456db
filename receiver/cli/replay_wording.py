"""What `receiver replay` found, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from receiver.actions import Action, Flag, OptIn, OptOut, Send, Subscribe, Unsubscribe
from receiver.cli import screen
from receiver.cli.wording import SHORT_ID
from receiver.service.replay import Judgement, ReplyChange, Tally
from receiver.store.event_effects import Effect, EventMessage


class Done(Protocol):
    """What `--apply` has done."""

    events: int
    replies: int
    actions: int
    handlers: int
    failures: int


def lines(judged: Judgement) -> Iterator[str]:
    """A line for each thing that differs; one that says so where nothing does."""
    event = judged.event
    head = f"{event.id[:SHORT_ID]}  {screen.time(event.receivedat)}  {event.subject or '':<13}"
    found = False
    for what in _differences(judged):
        found = True
        yield f"{head}  {what}"
    if not found:
        yield f"{head}  as then"


def _differences(judged: Judgement) -> Iterator[str]:
    if judged.reply is not None:
        yield _reply(judged.reply)
    for handler, action in judged.added:
        yield f"not done → {_action(action)} by {handler}"
    for message in judged.unsent:
        yield f"{_message(message)} → not asked for"
    for left in judged.gone:
        yield f"{_left(left)} → not asked for"
    for job in judged.failing:
        yield f"{job.handler} fails now: {job.error}"
    if judged.later:
        yield f"would be asked: {', '.join(judged.later)}"


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
            return f"send to {action.to}: {action.text!r}"
        case Subscribe() | Unsubscribe():
            scope = (action.short_code, action.service_id)
            return _with_scope(_kind(action), action.msisdn, *scope)
        case OptOut() | OptIn():
            scope = (action.short_code, action.service_id)
            return _with_scope(_kind(action), action.msisdn, *scope)
        case Flag(reason):
            return f"flag: {reason}"
    return _kind(action)


def _kind(action: Action) -> str:
    return str(msgspec.to_builtins(action)["type"])


def _with_scope(kind: str, msisdn: str, short_code: str | None, service_id: str | None) -> str:
    code = f" on {short_code}" if short_code else ""
    service = f" service {service_id}" if service_id else ""
    return f"{kind} {msisdn}{code}{service}"


def _message(message: EventMessage) -> str:
    return f"send to {message.to}: {message.text!r} by {message.handler}"


def _left(left: Effect) -> str:
    kind, *about = left.key
    by = f" by {left.handler}" if left.handler else ""
    return f"{kind} {' '.join(filter(None, about))}{by}"


def as_json(judged: Judgement) -> dict[str, Any]:
    """A line of `--json`."""
    event = judged.event
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source_name,
        "received": event.receivedat,
        "person": event.subject,
        "differs": judged.differs,
        "reply": judged.reply,
        "added": [{"handler": handler, "action": action} for handler, action in judged.added],
        "gone": [
            *({"handler": sent.handler, "action": _sent(sent)} for sent in judged.unsent),
            *({"handler": left.handler or None, "action": _trace(left)} for left in judged.gone),
        ],
        "failing": [{"handler": job.handler, "error": job.error} for job in judged.failing],
        "later": judged.later,
        "forwards": judged.forwards,
    }


def _sent(sent: EventMessage) -> dict[str, Any]:
    return {"type": "send", "to": sent.to, "text": sent.text}


#: By kind: what the parts of a trace after it are.
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


def summary_lines(tally: Tally, applied: Done | None, *, finished: bool) -> Iterator[str]:
    """What there is to say at the end."""
    until = "" if finished else "stopped after "
    yield (
        f"{until}{tally.events:,} events: {tally.same:,} as then, {tally.different:,} different,"
        f" {tally.failing:,} with a handler that fails now"
    )
    for handler, count in sorted(tally.later.items()):
        yield f"would be asked, not run here: {handler} ({count:,} events)"
    if tally.forwards:
        yield f"forwards asked for: {tally.forwards:,}; whether they were done is not known"
    if applied is not None:
        yield (
            f"done for {applied.events:,} events: {applied.replies:,} replies to be sent,"
            f" {applied.actions:,} actions, {applied.handlers:,} handlers to be asked"
        )
