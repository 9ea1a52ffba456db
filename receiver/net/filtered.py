"""Settings of other systems with filters: which events go there, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from receiver.config.convert import Address
from receiver.config.filters import Filter, is_word
from receiver.events import EventType
from receiver.text.escape import escape

#: A key below the table of the settings, and what is wrong with it.
Told = tuple[str, str]


class Filtered(msgspec.Struct, frozen=True, kw_only=True):
    """A system, and filters. An empty filter lets everything pass."""

    name: str
    """Unique among those of all plugins: waiting events are found by it."""
    types: list[str] = []
    """Types of events."""
    sources: list[str] = []
    """Names of sources."""
    keywords: list[str] = []
    """First words of messages, keywords of subscriptions; delivery reports have none."""
    to: list[Address] = []
    """Short codes or numbers of ours."""

    def filter(self) -> Filter:
        """Returns its filters, to look up in."""
        return Filter.of(types=self.types, sources=self.sources, keywords=self.keywords, to=self.to)

    def faults(self) -> Iterator[Told]:
        """Returns what cannot work."""
        types = [str(type_) for type_ in EventType]
        for n, type_ in enumerate(self.types):
            if type_ not in types:
                yield f"types[{n}]", f"expected one of {', '.join(types)}, got {type_!r}"
        for n, word in enumerate(self.keywords):
            if not is_word(word):
                yield f"keywords[{n}]", f"expected one word, got {word!r}"

    def cautions(self, sources: Iterable[str]) -> Iterator[Told]:
        """Returns what is probably a mistake; `sources` are those that there are."""
        for name in self.sources:
            if name not in sources:
                yield "sources", f"no source is named {name!r}"


def check_name(name: str) -> None:
    """Raises ValueError for a name that waiting events could not be found by."""
    if not name or "://" in name or name != escape(name.strip()):
        raise ValueError(f"expected a word such as crm, got {name!r}")


def target_faults(targets: Sequence[Filtered], streams: Sequence[Filtered] = ()) -> Iterator[Told]:
    """Returns what cannot work in the `targets` and `streams` of a plugin.

    These are keys below its table, and reasons.
    """
    names: set[str] = set()
    for key, each in _placed(targets, streams):
        for field, why in each.faults():
            yield f"{key}.{field}", why
        if each.name in names:
            yield f"{key}.name", f"{each.name} is there already"
        names.add(each.name)


def target_cautions(
    targets: Sequence[Filtered], sources: Iterable[str], streams: Sequence[Filtered] = ()
) -> Iterator[Told]:
    """Returns what is probably a mistake: unknown sources, no signature, no encryption."""
    for key, each in _placed(targets, streams):
        for field, why in each.cautions(sources):
            yield f"{key}.{field}", why


def _placed(
    targets: Sequence[Filtered], streams: Sequence[Filtered]
) -> Iterator[tuple[str, Filtered]]:
    for name, settings in (("targets", targets), ("streams", streams)):
        for n, each in enumerate(settings):
            yield f"{name}[{n}]", each
