"""The settings in `[plugins.subscriptions]`, and the texts in them."""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter

import msgspec

from receiver.handlers import Address, SettingsError

#: The variables of a text, as in `Welcome to {name}.`
VARIABLES = ("name", "keyword", "msisdn")
#: The words that `opt_out` takes before any service can.
RESERVED = frozenset(
    {
        *("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL"),
        *("OPTOUT", "OPT OUT", "REVOKE"),
        *("START", "UNSTOP"),
    }
)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plugins.subscriptions.services]]`. Without a text, the plugin answers nothing."""

    name: str
    """For people: `{name}` in the texts."""
    short_code: Address
    """The short code or number of ours that people write to."""
    service_id: str | None = None
    """The provider's id of the service, where the provider has one."""
    source: str | None = None
    """Only messages and pushes through this source."""
    join: list[str] = []
    leave: list[str] = []
    welcome: str | None = None
    """Default: the plugin's."""
    goodbye: str | None = None
    """Default: the plugin's."""
    already: str | None = None
    """For a person who is a subscriber already."""
    not_member: str | None = None
    """For a person who wants to leave and is no subscriber."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.subscriptions]`."""

    welcome: str | None = None
    """Sent to a person who joined; nothing without it."""
    goodbye: str | None = None
    """Sent to a person who left; nothing without it."""
    services: list[Service] = []


def text_faults(settings: Settings) -> Iterator[SettingsError]:
    """Returns the faults of the texts of the plugin and of its services."""
    texts = {"welcome": settings.welcome, "goodbye": settings.goodbye}
    for n, service in enumerate(settings.services):
        for field in ("welcome", "goodbye", "already", "not_member"):
            texts[f"services[{n}].{field}"] = getattr(service, field)
    for key, text in texts.items():
        if text is not None and (message := _text_fault(text)):
            yield SettingsError(key, message)


def _text_fault(text: str) -> str | None:
    """Returns the fault of a text, a format string that may only name variables."""
    expected = f"{', '.join(f'{{{name}}}' for name in VARIABLES)}; a brace itself is {{{{ or }}}}"
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        return f"{error}; expected nothing in braces but {expected}"
    for _, field, spec, conversion in parts:
        if field is not None and (field not in VARIABLES or spec or conversion):
            return f"expected nothing in braces but {expected}; got {{{field}}}"
    return None
