"""Loading a plugin by its settings, and asking it about events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver import config
from receiver.errors import ConfigError
from receiver.events import Data, DeliveryReport, Event, EventType, Message, SubscriptionChange
from receiver.handlers import Action, Explanation, Reply, actions
from receiver.plugin_host import loader
from receiver.plugin_host.dispatch import BoundHandler
from receiver.plugin_host.loader import Plugin
from receiver.text.keywords import keyword
from tests.harness import NOW

PERSON = "+254726770792"


def load(name: str, **settings: Any) -> Plugin:
    """The shipped plugin `name` with these settings."""
    raw = {"plugins": {"enabled": [name], name: settings}}
    return loader.load(config.parse(raw, Path("/etc/receiver/receiver.toml")))[0]


def faults(name: str, **settings: Any) -> dict[str, str]:
    """What is wrong with settings: messages by key, below the plugin's own table."""
    with pytest.raises(ConfigError) as caught:
        load(name, **settings)
    return {
        fault.key.removeprefix(f"plugins.{name}."): fault.message for fault in caught.value.faults
    }


def message(
    text: str, *, to: str | None = "22915", sender: str = PERSON, **data: Any
) -> Event[Any]:
    """Somebody writes to us."""
    return event(
        EventType.MESSAGE_RECEIVED,
        Message(external_id="1", from_=sender, to=to, text=text, keyword=keyword(text), **data),
    )


def report(**data: Any) -> Event[Any]:
    """A delivery report."""
    return event(EventType.DELIVERY_UPDATED, DeliveryReport(message_id="1", **data))


def change(type_: EventType, **data: Any) -> Event[Any]:
    """An activation or deactivation."""
    return event(type_, SubscriptionChange(**{"msisdn": PERSON, **data}))


def event(type_: EventType, data: Data) -> Event[Any]:
    """An event about these data."""
    return Event(
        id="0197",
        source="/sources/tilil",
        type=str(type_),
        time=NOW,
        provider="tilil",
        receivedat=NOW,
        data=data,
    )


def ask(plugin: Plugin, about: Event[Any]) -> tuple[Action, ...]:
    """What the plugin wants done about an event."""
    asked: list[Action] = []
    for handler in plugin.handlers:
        replied = any(isinstance(action, Reply) for action in asked)
        bound = BoundHandler.of(plugin.name, handler, plugin.context)
        if bound.wants(about) and not (handler.last and replied):
            asked += actions(handler.function(about, plugin.context))
    return tuple(asked)


def explain(plugin: Plugin, about: Event[Any]) -> list[Explanation]:
    """What the plugin says about what it does."""
    assert plugin.explain is not None
    return plugin.explain(about, plugin.context)
