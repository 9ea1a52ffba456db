"""The settings in `[plugins.subscriptions]`, and the services in tables.

Services are found by the words and the addresses of messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter
from typing import Any, Literal

import msgspec

from receiver.handlers import (
    Address,
    Context,
    Event,
    Message,
    SettingsError,
    SubscriptionChange,
    addresses,
    phrase,
)

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


class Word(msgspec.Struct, frozen=True):
    """A word that joins or leaves a service."""

    text: str
    """The word in the form in which it is compared."""
    kind: Literal["join", "leave"]
    service: Service


class Services(msgspec.Struct, frozen=True):
    """The services, in tables."""

    listed: list[Service]
    """The services in file order."""
    words: dict[str, list[Word]]
    """The words by the whole message; several if they are of different addresses."""
    beginnings: frozenset[str]
    """First words of all messages that can be a word of a service."""
    places: dict[str, frozenset[str]]
    """All forms of a service's `short_code`, by that setting."""

    def find(self, event: Event[Message]) -> Word | None:
        """Returns the word that is the whole message, of a service at the message's address."""
        whole = phrase(event.data.text)
        words = self.words.get(whole) or self.words.get(_without_marks(whole)) or []
        for word in words:
            if self.is_at(word.service, event.source_name, event.data.to):
                return word
        return None

    def of(self, event: Event[SubscriptionChange]) -> Service | None:
        """Returns the service of a provider's push."""
        change, source = event.data, event.source_name
        for service in self.listed:
            ours = change.short_code or service.short_code
            if service.service_id == change.service_id and self.is_at(service, source, ours):
                return service
        return None

    def is_at(self, service: Service, source: str, ours: str | None) -> bool:
        """Returns True if the service has this source and this address of ours."""
        return service.source in (None, source) and ours in self.places[service.short_code]


def _without_marks(whole: str) -> str:
    """Returns `LEAVE NEWS` of `LEAVE NEWS !`."""
    return " ".join(word for word in whole.split(" ") if any(map(str.isalnum, word)))


def setup(settings: Settings) -> Services:
    """Makes the tables. Raises an `ExceptionGroup` of the faults of words, texts and services."""
    places: dict[str, frozenset[str]] = {
        service.short_code: addresses(service.short_code) for service in settings.services
    }
    words: dict[str, list[Word]] = {}
    faults = list(_text_faults(settings))
    for n, service in enumerate(settings.services):
        faults += _service_faults(n, settings.services, places)
        for kind, texts in (("join", service.join), ("leave", service.leave)):
            for m, text in enumerate(texts):
                word = Word(phrase(text), "join" if kind == "join" else "leave", service)
                rivals = words.setdefault(word.text, [])
                if message := _word_fault(word, rivals, places):
                    faults.append(SettingsError(f"services[{n}].{kind}[{m}]", message))
                rivals.append(word)
    if faults:
        raise ExceptionGroup("services", faults)
    beginnings = frozenset(text.split(" ")[0] for text in words)
    return Services(listed=settings.services, words=words, beginnings=beginnings, places=places)


def _service_faults(
    n: int, services: list[Service], places: dict[str, frozenset[str]]
) -> Iterator[SettingsError]:
    service = services[n]
    if not service.short_code.strip():
        yield SettingsError(f"services[{n}].short_code", "expected a short code or number of ours")
    for m, other in enumerate(services[:n]):
        if service.service_id == other.service_id and _overlap(service, other, places):
            why = f"the same service as services[{m}] {other.name}; tell them apart by service_id"
            yield SettingsError(f"services[{n}]", why)


def _word_fault(word: Word, rivals: list[Word], places: dict[str, frozenset[str]]) -> str | None:
    if not word.text:
        return "expected a word, got an empty text"
    for rival in rivals:
        if _overlap(word.service, rival.service, places):
            what = f"a word to {rival.kind} {rival.service.name}"
            return f"{word.text} is {what} already, on {rival.service.short_code}"
    return None


def _overlap(one: Service, other: Service, places: dict[str, frozenset[str]]) -> bool:
    """Returns True if a message can be for both."""
    apart = None not in (one.source, other.source) and one.source != other.source
    return not apart and bool(places[one.short_code] & places[other.short_code])


def _text_faults(settings: Settings) -> Iterator[SettingsError]:
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


def is_managed(service: Service, event: Event[Message], context: Context[Any]) -> bool:
    """True if the provider keeps the list of subscribers; it knows no services without its id."""
    source = context.sources.get(event.source_name)
    return service.service_id is not None and source is not None and source.manages_subscriptions
