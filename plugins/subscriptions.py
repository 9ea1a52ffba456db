"""Keeps the subscription book by the activations and deactivations that providers push."""

from __future__ import annotations

import msgspec

from receiver.handlers import (
    Action,
    Context,
    Event,
    EventType,
    Reply,
    Subscribe,
    SubscriptionChange,
    Unsubscribe,
    on_subscription,
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.subscriptions]`."""

    welcome: str | None = None
    """Sent to who joined; nothing without it."""
    goodbye: str | None = None
    """Sent to who left; nothing without it."""


@on_subscription(inline=True)
def keep_book(event: Event[SubscriptionChange], context: Context[None]) -> list[Action]:
    """Writes the change into the book, and greets."""
    change, settings = event.data, context.settings
    joined = event.type == EventType.SUBSCRIPTION_ACTIVATED
    record = Subscribe if joined else Unsubscribe
    actions: list[Action] = [
        record(
            msisdn=change.msisdn,
            short_code=change.short_code,
            service_id=change.service_id,
            keyword=change.keyword,
            subscriber_ref=change.subscriber_ref,
            network=change.network,
        )
    ]
    if greeting := settings.welcome if joined else settings.goodbye:
        actions.append(Reply(greeting))
    return actions
