"""The subscription book follows what providers push."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.events import EventType
from receiver.handlers import Reply, Subscribe, Unsubscribe
from tests.plugins.asking import PERSON, ask, change, load, message

ACTIVATED, DEACTIVATED = EventType.SUBSCRIPTION_ACTIVATED, EventType.SUBSCRIPTION_DEACTIVATED
FIELDS: dict[str, Any] = {
    "msisdn": PERSON,
    "short_code": "22915",
    "service_id": "44",
    "keyword": "GAME",
    "subscriber_ref": "12345",
    "network": "safaricom",
}


@pytest.mark.parametrize(("type_", "record"), [(ACTIVATED, Subscribe), (DEACTIVATED, Unsubscribe)])
def test_change_is_booked(type_: EventType, record: type[Subscribe | Unsubscribe]) -> None:
    """An activation subscribes, a deactivation unsubscribes, with all that is known."""
    assert ask(load("subscriptions"), change(type_, **FIELDS)) == (record(**FIELDS),)


def test_greetings() -> None:
    """Who joins is welcomed and who leaves is told goodbye, where there are texts for it."""
    plugin = load("subscriptions", welcome="Hello!", goodbye="Bye!")
    assert ask(plugin, change(ACTIVATED))[1:] == (Reply("Hello!"),)
    assert ask(plugin, change(DEACTIVATED))[1:] == (Reply("Bye!"),)


def test_one_greeting_only() -> None:
    """A welcome without a goodbye leaves the other silent."""
    plugin = load("subscriptions", welcome="Hello!")
    assert ask(plugin, change(DEACTIVATED)) == (Unsubscribe(msisdn=PERSON),)


def test_messages_are_no_changes() -> None:
    """A message that says JOIN is not the provider's word for it."""
    assert ask(load("subscriptions"), message("JOIN")) == ()
