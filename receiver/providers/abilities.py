"""Tells what a provider can do, from its class and its samples."""

from __future__ import annotations

import msgspec

from receiver.config.convert import Secret
from receiver.errors import PushError
from receiver.events import EventType
from receiver.providers.contract import Api, Parsed, Provider
from receiver.providers.places import ProviderType

_SUBSCRIPTIONS = {EventType.SUBSCRIPTION_ACTIVATED, EventType.SUBSCRIPTION_DEACTIVATED}
_SECRET = "s3cret"  # noqa: S105 - of nobody


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of a provider: each that it has is true."""

    receives: bool
    """People write to us through it."""
    replies: bool
    """The answer to a message carries a text back to the person."""
    reports: bool
    """It pushes delivery reports."""
    subscriptions: bool
    """It pushes who joined and left a service."""
    sends: bool
    """Messages leave through it."""
    status: bool
    """It can be asked for the status of a message."""
    balance: bool
    """It can be asked for the credit."""

    def __str__(self) -> str:
        return ", ".join(name for name in self.__struct_fields__ if getattr(self, name))


def abilities(provider: ProviderType) -> Abilities:
    """Returns what a provider can do."""
    types, api = event_types(provider), provider.api
    return Abilities(
        receives=provider.receives_messages,
        replies=provider.takes_reply is not Provider.takes_reply,
        reports=EventType.DELIVERY_UPDATED in types,
        subscriptions=bool(_SUBSCRIPTIONS & types),
        sends=api is not None,
        status=api is not None and api.look_up is not Api.look_up,
        balance=api is not None and api.balance is not Api.balance,
    )


def event_types(provider: ProviderType) -> set[EventType]:
    """Returns the types of events that the samples of a provider become."""
    made = provider(provider.settings(provider=provider.name, tokens=[Secret(_SECRET)]))
    found = set()
    for kind in provider.sample_kinds:
        try:
            parsed = made.parse(provider.sample(kind, _SECRET, {}).push())
        except PushError:  # `receiver providers test` tells
            continue
        found |= {each.type for each in parsed if isinstance(each, Parsed)}
    return found
