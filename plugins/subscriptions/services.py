"""The services of the configuration, found by the words and the addresses of messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from receiver.handlers import (
    Event,
    Message,
    SettingsError,
    SubscriptionChange,
    addresses,
    phrase,
)

from .settings import Service, Settings, text_faults


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


def build(settings: Settings) -> Services:
    """Makes the tables. Raises an `ExceptionGroup` of the faults of words, texts and services."""
    places: dict[str, frozenset[str]] = {
        service.short_code: addresses(service.short_code) for service in settings.services
    }
    words: dict[str, list[Word]] = {}
    faults = list(text_faults(settings))
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
