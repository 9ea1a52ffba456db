"""The lines of the subscription book, and the changes that messages make to them."""

from __future__ import annotations

from typing import Any

from receiver.handlers import (
    Action,
    Context,
    Event,
    EventType,
    Message,
    Subscribe,
    Subscription,
    SubscriptionChange,
    Unsubscribe,
)

from .services import Word
from .settings import Service


def find_line(
    event: Event[Message] | Event[SubscriptionChange],
    context: Context[Any],
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


def is_change(
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


def change_of(event: Event[Message], word: Word, *, managed: bool) -> Action:
    """Returns the change that a word asks for.

    It is written even where the book stays the same: an older change may come later, and must not
    win.
    """
    message, service_id = event.data, word.service.service_id
    if word.kind == "join":
        return Subscribe(
            msisdn=message.from_,
            short_code=message.to,
            service_id=service_id,
            keyword=word.text,
            network=message.network,
        )
    return Unsubscribe(
        msisdn=message.from_,
        short_code=message.to,
        service_id=service_id,
        keyword=word.text,
        network=message.network,
        at_provider=managed,
    )


def is_managed(service: Service, event: Event[Message], context: Context[Any]) -> bool:
    """True if the provider keeps the list of subscribers; it knows no services without its id."""
    source = context.sources.get(event.source_name)
    return service.service_id is not None and source is not None and source.manages_subscriptions
