"""Finds the effects of events in the store: messages, changes, flags, pending work.

The effect of an action is found by a key. A forward has none: its job is deleted when done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from receiver.actions import Action, Flag, OptIn, OptOut, Send, Subscribe, Unsubscribe
from receiver.outgoing import OutgoingMessage
from receiver.store.opt_out_rule import line, service
from receiver.store.tx import Tx

EffectKey = tuple[str, ...]
"""Kind and subject of an action. Actions with equal keys do the same."""
Asked = tuple[str, Action]
"""A handler's name and an action that it asks for."""

_OF_EVENTS = "WHERE event BETWEEN ?1 AND ?2"
_MESSAGES = (
    f"SELECT event, handler, msisdn, sender, text, service_id, link_id FROM messages {_OF_EVENTS}"
    " ORDER BY event, id"
)
_CHANGES = (
    "SELECT event, CASE state WHEN 'active' THEN 'subscribe' ELSE 'unsubscribe' END, source,"
    f" short_code, service_id, msisdn FROM subscription_history {_OF_EVENTS} AND reason IS NULL"
)
_OPTED = (
    "SELECT event, CASE change WHEN 'out' THEN 'opt_out' ELSE 'opt_in' END, msisdn, short_code,"
    f" service_id FROM opt_out_history {_OF_EVENTS}"
)
_FLAGS = f"SELECT event, handler, reason FROM flags {_OF_EVENTS}"
_WORK = f"SELECT event, handler FROM jobs {_OF_EVENTS} AND kind = 'handle'"


class EventMessage(OutgoingMessage, frozen=True, kw_only=True):
    """A message of the event, sent or to be sent."""

    handler: str


class Effect(msgspec.Struct, frozen=True):
    """A change that an action made, and its handler if the store knows it."""

    key: EffectKey
    handler: str = ""


class EventEffects(msgspec.Struct):
    """The effects of one event."""

    messages: list[EventMessage] = []
    """In the order in which they were asked for."""
    changes: list[Effect] = []
    """Changes of the subscription book and of opt-outs, and flags."""
    work: list[str] = []
    """Handlers whose job is pending or dead."""


NOTHING = EventEffects()
"""Shared by all events without effects; not to be changed."""


def effects_of(tx: Tx, first: int, last: int, wanted: set[int]) -> dict[int, EventEffects]:
    """Returns the effects of the events `wanted`, all of them from `first` to `last`.

    Events without effects are missing.
    """
    found: dict[int, EventEffects] = {}
    for seq, *facts in tx.execute(_MESSAGES, (first, last)):
        if seq in wanted:
            found.setdefault(seq, EventEffects()).messages.append(_message(*facts))
    for seq, mark in _marks(tx, first, last):
        if seq in wanted:
            found.setdefault(seq, EventEffects()).changes.append(mark)
    for seq, handler in tx.execute(_WORK, (first, last)):
        if seq in wanted:
            found.setdefault(seq, EventEffects()).work.append(handler)
    return found


def _message(
    handler: str, to: str, sender: str | None, text: str, service: str | None, link: str | None
) -> EventMessage:
    return EventMessage(
        handler=handler, to=to, sender=sender, text=text, service_id=service, link_id=link
    )


def _marks(tx: Tx, first: int, last: int) -> Iterator[tuple[int, Effect]]:
    for query in (_CHANGES, _OPTED):
        for seq, *trace in tx.execute(query, (first, last)):
            yield seq, Effect(tuple(trace))
    for seq, handler, reason in tx.execute(_FLAGS, (first, last)):
        yield seq, Effect(("flag", reason), handler)


def undone(
    asked: Sequence[Asked], effects: EventEffects, source: str
) -> tuple[list[Asked], list[EventMessage], list[Effect]]:
    """Returns the actions asked for that are not done, and the effects that none asks for.

    An action that is asked for twice must be done twice. Forwards are in neither list. `source` is
    that of the event.
    """
    messages, marks = list(effects.messages), list(effects.changes)
    missing: list[Asked] = []
    for handler, action in asked:
        if isinstance(action, Send):
            if not _take_message(messages, action):
                missing.append((handler, action))
        elif (trace := effect_key(action, source)) is not None:
            mark = next((mark for mark in marks if mark.key == trace), None)
            if mark is None:
                missing.append((handler, action))
            else:
                marks.remove(mark)
    # Earlier versions asked for the end of each subscription after a STOP.
    out = {action.msisdn for _, action in asked if isinstance(action, OptOut)}
    left = [m for m in marks if not (m.key[0] == "unsubscribe" and m.key[4] in out)]
    return missing, messages, left


def effect_key(action: Action, source: str) -> EffectKey | None:
    """Returns the key of an action; None for forwards and messages, which have none."""
    match action:
        case Subscribe():
            scope = (action.short_code or "", service(action.service_id), action.msisdn)
            return ("subscribe", source, *scope)
        case Unsubscribe():
            scope = (action.short_code or "", service(action.service_id), action.msisdn)
            return ("unsubscribe", action.source or source, *scope)
        case OptOut():
            return ("opt_out", action.msisdn, *line(action.short_code, action.service_id))
        case OptIn():
            return ("opt_in", action.msisdn, *line(action.short_code, action.service_id))
        case Flag(reason):
            return ("flag", reason)
    return None


def take_text(messages: list[EventMessage], text: str) -> list[EventMessage]:
    """Removes from the list the messages that together have this text, and returns them.

    A long text was sent as several messages, without the white space at the breaks.
    """
    whole = _squeezed(text)
    for message in messages:
        if _squeezed(message.text) == whole:
            messages.remove(message)
            return [message]
    pieces: list[EventMessage] = []
    for message in messages:
        piece = _squeezed(message.text)
        if piece and whole.startswith(piece):
            whole = whole[len(piece) :]
            pieces.append(message)
        if pieces and not whole:
            for taken in pieces:
                messages.remove(taken)
            return pieces
    return []


def _take_message(messages: list[EventMessage], action: Send) -> bool:
    """Removes the messages that an action asked for. True if somebody has one.

    Those of a campaign are made together: who has none was forgotten since.
    """
    found = False
    for to in (action.to, *action.others):
        theirs = [message for message in messages if message.to == to]
        for message in take_text(theirs, action.text):
            messages.remove(message)
            found = True
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split())
