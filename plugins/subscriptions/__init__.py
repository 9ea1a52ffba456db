"""Keeps the subscription book: by pushes of providers, and by words that people send.

A provider that manages subscriptions pushes each change; all of them go into the book.
Services of the configuration can be joined and left by messages as well: a message that is nothing
but one of a service's words, `JOIN NEWS` or `Leave news!`, comes before every rule. A bare STOP is
not a service's word but that of `opt_out`.

`services` is the part of the configuration and finds the service of a message; `explaining` is for
people.
"""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.handlers import (
    Action,
    Context,
    Event,
    EventType,
    Explanation,
    Message,
    Reply,
    Subscribe,
    Subscription,
    SubscriptionChange,
    Unsubscribe,
    is_e164,
    on_message,
    on_subscription,
)

from .explaining import explain_words, lint
from .services import RESERVED, Service, Services, Settings, Word, is_managed, setup

__all__ = ["RESERVED", "Service", "Settings", "keep_book", "lint", "obey_word", "setup"]


@on_subscription(inline=True)
def keep_book(event: Event[SubscriptionChange], context: Context[Services]) -> list[Action]:
    """Writes the change into the book, and greets the person unless the book knew it already."""
    change = event.data
    joined = event.type == EventType.SUBSCRIPTION_ACTIVATED
    record = Subscribe if joined else Unsubscribe
    actions: list[Action] = [record(**msgspec.structs.asdict(change))]
    service = context.state.of(event)
    if text := _greeting(service, context.settings, joined=joined):
        line = _find_line(event, context, change.msisdn, change.short_code, change.service_id)
        if _is_change(line, event, joined=joined):
            name = service.name if service else change.keyword or change.service_id or ""
            actions.append(_reply(text, name, change.keyword or "", change.msisdn))
    return actions


@on_message(inline=True, first=True)
def obey_word(event: Event[Message], context: Context[Services]) -> list[Action] | None:
    """Writes into the book that the sender joins or leaves by a word, and answers."""
    services, message = context.state, event.data
    if message.keyword not in services.beginnings and (message.keyword or "").isalnum():
        return None  # nearly every message ends here
    word = services.find(event)
    if word is None or not is_e164(message.from_):
        return None
    service, joins = word.service, word.kind == "join"
    line = _find_line(event, context, message.from_, message.to, service.service_id)
    active = line is not None and line.state == "active"
    changes = active is not joins
    if not changes:
        text = service.already if joins else service.not_member
    elif _is_change(line, event, joined=joins):
        text = _greeting(service, context.settings, joined=joins)
    else:
        text = None  # a late message: the book is newer
    answer: list[Action] = []
    if text is not None:
        answer = [_reply(text, service.name, word.text, message.from_, if_changed=changes)]
    managed = is_managed(service, event, context)
    if joins and managed:
        # Whom the provider takes and charges is up to the provider: it pushes an activation, which
        # is booked and welcomed. Until then nothing else may answer.
        return answer if active and answer else [Reply("")]
    return [_change_of(event, word, managed=managed), *answer]


def _greeting(service: Service | None, settings: Settings, *, joined: bool) -> str | None:
    """Returns the text of the service, else that of the plugin."""
    field = "welcome" if joined else "goodbye"
    own: str | None = getattr(service, field) if service is not None else None
    return own if own is not None else getattr(settings, field)


def _reply(text: str, name: str, keyword: str, msisdn: str, *, if_changed: bool = True) -> Reply:
    """Returns a reply; that to a person who joins or leaves by this event is sent `if_changed`."""
    return Reply(text.format(name=name, keyword=keyword, msisdn=msisdn), if_changed=if_changed)


def _find_line(
    event: Event[Message] | Event[SubscriptionChange],
    context: Context[Services],
    msisdn: str,
    short_code: str | None,
    service_id: str | None,
) -> Subscription | None:
    """Returns the line of the book for a person and a service."""
    wanted = (event.source_name, short_code or "", service_id or "")
    for line in context.people.subscriptions(msisdn):
        if (line.source, line.short_code, line.service_id) == wanted:
            return line
    return None


def _is_change(
    line: Subscription | None,
    event: Event[Message] | Event[SubscriptionChange],
    *,
    joined: bool,
) -> bool:
    """True if the event changes the line: no repeat does, nor an event older than the line.

    The line is that of the store: an event in the same commit is known only when both are stored
    (`Reply.if_changed`).
    """
    if line is None:
        return True
    written = event.type == EventType.MESSAGE_RECEIVED
    moment = event.receivedat if written else min(event.time, event.receivedat)
    if joined:
        return line.state == "inactive" and moment > line.since
    return line.state == "active" and moment >= line.since


def _change_of(event: Event[Message], word: Word, *, managed: bool) -> Action:
    """Returns the change that a word asks for.

    It is written even where the book stays the same: an older change may come later, and must not
    win.
    """
    change: dict[str, Any] = {
        "msisdn": event.data.from_,
        "short_code": event.data.to,
        "service_id": word.service.service_id,
        "keyword": word.text,
        "network": event.data.network,
    }
    if word.kind == "join":
        return Subscribe(**change)
    return Unsubscribe(**change, at_provider=managed)


def explain(event: Event[Message], context: Context[Services]) -> list[Explanation]:
    """Says of each service if the message is its word, and the effect."""
    return explain_words(event, context, obey_word(event, context))
