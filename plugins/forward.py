"""Forwards events to other systems: each event to every target whose filters it passes."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.handlers import (
    Action,
    Context,
    DeliveryReport,
    Event,
    Filter,
    Finding,
    Forward,
    Message,
    SettingsError,
    Stream,
    SubscriptionChange,
    Target,
    TargetSettings,
    on_delivery,
    on_message,
    on_subscription,
    target_cautions,
    target_faults,
)

#: The filters of each target, and the action that forwards to it, in the order of the file.
Routes = list[tuple[Filter, Forward]]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.forward]`."""

    targets: list[TargetSettings] = []
    streams: list[Stream] = []


def setup(settings: Settings) -> Routes:
    """Returns the targets with their filters."""
    told = target_faults(settings.targets, settings.streams)
    faults = [SettingsError(key, why) for key, why in told]
    if faults:
        raise ExceptionGroup("targets", faults)
    every = [*settings.targets, *settings.streams]
    return [(each.filter(), Forward(target=each.name)) for each in every]


def targets(settings: Settings) -> list[Target | Stream]:
    """Returns the systems that events are forwarded to."""
    return [*(target.target() for target in settings.targets), *settings.streams]


def lint(context: Context[Routes]) -> list[Finding]:
    """Finds unknown sources, targets without a signature, and URLs without HTTPS."""
    settings = context.settings
    cautions = target_cautions(settings.targets, context.sources, settings.streams)
    return [Finding(key, why) for key, why in cautions]


@on_message(inline=True)
def forward_message(event: Event[Message], context: Context[Routes]) -> list[Action] | None:
    """Forwards messages of people."""
    return _wanted(event, context.state)


@on_delivery(inline=True)
def forward_report(event: Event[DeliveryReport], context: Context[Routes]) -> list[Action] | None:
    """Forwards delivery reports."""
    return _wanted(event, context.state)


@on_subscription(inline=True)
def forward_change(
    event: Event[SubscriptionChange], context: Context[Routes]
) -> list[Action] | None:
    """Forwards activations and deactivations."""
    return _wanted(event, context.state)


def _wanted(event: Event[Any], routes: Routes) -> list[Action] | None:
    return [action for filter_, action in routes if filter_.wants(event)] or None
