"""Filters of events, as decorators of handlers and the settings of targets have them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from receiver.config.convert import Address
from receiver.events import Data, DeliveryReport, Event, Message
from receiver.text.keywords import fold, split


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters, as sets to look up in. An empty set lets everything pass."""

    types: frozenset[str] = frozenset()
    """Types of events."""
    sources: frozenset[str] = frozenset()
    """Names of sources."""
    keywords: frozenset[str] = frozenset()
    """First words of messages and keywords of subscriptions, folded with `symbols`."""
    to: frozenset[str] = frozenset()
    """Short codes and numbers of ours, as events have them."""

    @staticmethod
    def of(
        *,
        types: Iterable[str] = (),
        sources: str | Iterable[str] = (),
        keywords: str | Iterable[str] = (),
        to: str | Iterable[str] = (),
    ) -> Filter:
        """Makes it of what a person wrote. Raises ValueError for a keyword that is no word."""
        words = _several(keywords)
        for word in words:
            if not is_word(word):
                raise ValueError(f"a keyword is one word, not {word!r}")
        return Filter(
            types=frozenset(map(str, types)),
            sources=_several(sources),
            keywords=frozenset(fold(word, symbols=True) for word in words),
            to=addresses(to),
        )

    def wants(self, event: Event[Data]) -> bool:
        """True if the event passes all filters."""
        if self.types and event.type not in self.types:
            return False
        if self.sources and event.source_name not in self.sources:
            return False
        if self.keywords and not has_keyword(event.data, self.keywords):
            return False
        return not self.to or ours(event.data) in self.to


def ours(data: Data) -> str | None:
    """Returns our short code or number: the recipient of a message, or the sender of a report's."""
    if isinstance(data, Message):
        return data.to
    return data.sender if isinstance(data, DeliveryReport) else data.short_code


def is_word(text: str) -> bool:
    """True if a text can be a keyword: it is one word."""
    return bool(text) and split(text) == (text, "")


def addresses(to: str | Iterable[str]) -> frozenset[str]:
    """Returns short codes and numbers of ours in the form of an event's `to`.

    Takes an `Address` of the settings in any form; another text must not be a number in national
    form.
    """
    return frozenset(
        form
        for text in ([to] if isinstance(to, str) else to)
        for form in (text if isinstance(text, Address) else Address(text)).forms
    )


def has_keyword(data: Data, keywords: frozenset[str]) -> bool:
    """True if the first word of a message or the keyword of a subscription is one of these.

    They are folded with `symbols`: `A+` is not A, while A is `A+`, `A!` and `a`.
    """
    typed = (isinstance(data, Message) and split(data.text)[0]) or getattr(data, "keyword", None)
    return bool(typed) and (fold(typed) in keywords or fold(typed, symbols=True) in keywords)


def _several(values: str | Iterable[str]) -> frozenset[str]:
    return frozenset({values} if isinstance(values, str) else values)
