"""Pushes that tell several events, or hold items that could not become events.

Its events are stored in one commit and answered once (`receiver.store.bundles`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from receiver.errors import Malformed
from receiver.intake.batch import Arrival, request_of
from receiver.intake.endpoint import Endpoint
from receiver.logs.requests import Entry
from receiver.providers import Parsed, Push
from receiver.store import StoredBundle, StoredPush, one_speaks

#: Reasons that are named of the items that could not become events.
_REASONS = 3
#: Bytes of an event beside its content, about: its row, and what the writer needs for it.
_ROW = 512


class Bundle:
    """A push on its way into the store that is more than one event."""

    __slots__ = ("arrivals", "aside", "push", "unread")

    def __init__(self, arrivals: Sequence[Arrival], unread: Malformed | None) -> None:
        self.arrivals = arrivals
        self.push = arrivals[0].push
        self.unread = unread
        """Why some items could not become events."""
        self.aside: Callable[[Any], object] | None = None
        """Keeps these for a look, in the transaction that stores the events."""

    @classmethod
    def of(
        cls,
        endpoint: Endpoint,
        push: Push,
        items: Sequence[Parsed | Malformed],
        entry: Entry,
        *,
        answered: bool = True,
    ) -> Bundle:
        """Makes a bundle of what a provider has read. Raises `Malformed` if no event is in it."""
        events = [item for item in items if isinstance(item, Parsed)]
        unread = [item for item in items if not isinstance(item, Parsed)]
        why = _summary(unread, len(items)) if unread else None
        if not events:
            raise why or RuntimeError("expected an event of the provider's parse, got none")
        acknowledge = endpoint.provider.acknowledge
        arrivals = [
            Arrival(
                endpoint,
                push,
                parsed,
                acknowledge(push, parsed, ""),
                entry,
                answered=answered,
                bundled=True,
            )
            for parsed in events
        ]
        return cls(arrivals, why)

    @property
    def size(self) -> int:
        """Returns how many bytes its events have beside their content, about."""
        return _ROW * len(self.arrivals)

    def record(self, records: Sequence[StoredPush | Exception]) -> StoredBundle:
        """Returns the record of the push. Raises what prevented that of one of its events."""
        made = []
        for record in records:
            if isinstance(record, Exception):
                raise record
            made.append(record)
        return StoredBundle(
            pushes=one_speaks(made),
            request=request_of(self.push),
            unread=self.unread is not None,
            aside=self.aside,
        )


def _summary(unread: Sequence[Malformed], items: int) -> Malformed:
    """Returns one error for all items that could not become events."""
    reasons = list(dict.fromkeys(map(str, unread)))
    more = "; …" if len(reasons) > _REASONS else ""
    said = "; ".join(reasons[:_REASONS]) + more
    return Malformed(said if items == 1 else f"{len(unread)} of {items} items: {said}")
