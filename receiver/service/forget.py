"""Deletes all data about a person, at their own wish, everywhere in the store.

Some records stay without the number: the ids that tell repeats of pushes, and opt-outs, so that a
person who was forgotten is not messaged again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from receiver.errors import PushError
from receiver.providers import Parsed, Provider
from receiver.service.quarantine import push_of
from receiver.store import (
    PurgeKind,
    QuarantineRow,
    Store,
    forgetting,
    from_micros,
    purges,
    shared_requests,
    unpack_request,
)
from receiver.store.spellings import Spelled
from receiver.text.msisdn import spellings

#: Events of one transaction: more would make the pushes wait.
_PIECE = 32
#: Where data about the person may still be, a line each.
NOT_REACHED = (
    "backups that were made before, and what was forwarded or logged elsewhere, still have it",
    "the provider has its own records",
)


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """The result: what was deleted, and what could not be."""

    gone: Counter[str]
    left: list[str]
    """A line for each thing that is left, with what to do."""


async def obstacles(store: Store, msisdn: str) -> list[str]:
    """Returns why the person should not be forgotten yet: they may still be charged."""
    holding = await store.reader.persons.obstacles(msisdn)
    found = []
    for source, short_code, service_id in holding.subscriptions:
        about = " ".join(filter(None, (short_code, service_id and f"service {service_id}")))
        found.append(f"subscribed at {source} to {about or 'what has no name'}")
    if holding.deactivations:
        found.append("the provider has yet to be told that a subscription ends (`receiver jobs`)")
    return found


async def forget(
    store: Store, msisdn: str, providers: Mapping[str, Provider[Any]] | None = None
) -> Forgotten:
    """Deletes all data about a person. Raises `StoreUnavailable`; a second call goes on.

    `providers`: by source, to read the person in requests that could not become events.
    """
    reader, names, spelled = store.reader.persons, spellings(msisdn), Spelled(msisdn)
    gone: Counter[str] = Counter()
    # First, while their messages are there: only these tell whose most reports are.
    await _drop(store, PurgeKind.EVENTS, await reader.reports(names), gone)
    # From now on nothing is sent to them.
    gone += await store.run(forgetting.forget, msisdn, names)
    busy = 0
    after = 0
    while seqs := await reader.events(msisdn, after, _PIECE):
        busy += len(seqs) - await _drop(store, PurgeKind.EVENTS, seqs, gone)
        after = seqs[-1]
    named = await reader.named(spelled.is_in_word)
    for piece in _pieces(named):
        await _drop(store, PurgeKind.EVENTS, await reader.without_subject(piece), gone)
        await store.run(forgetting.rename_keys, piece)

    def is_theirs(kept: QuarantineRow) -> bool:
        if spelled.stands_in(kept.request) or spelled.stands_in(kept.reason.encode()):
            return True
        return msisdn in _subjects(kept, (providers or {}).get(kept.source))

    await _drop(store, PurgeKind.QUARANTINE, await reader.quarantined(is_theirs), gone)
    for piece in _pieces(await reader.unread(is_theirs)):
        gone["requests"] += await store.run(shared_requests.drop, piece)
    left = []
    if busy:
        left.append(f"{busy} events are being answered just now; forget again in a minute")
    if sending := await reader.messages(names):
        left.append(f"{sending} messages are being sent just now; forget again in a minute")
    return Forgotten(gone=+gone, left=left)


async def _drop(store: Store, kind: PurgeKind, ids: Sequence[int], gone: Counter[str]) -> int:
    """Deletes these, and returns how many; counts everything deleted in `gone`."""
    dropped: Counter[str] = Counter()
    for piece in _pieces(ids):
        dropped += await store.run(purges.drop, kind, piece, wanted_or_not=kind is PurgeKind.EVENTS)
    gone += dropped
    return dropped[kind]


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _PIECE):
        yield ids[start : start + _PIECE]


def _subjects(kept: QuarantineRow, provider: Provider[Any] | None) -> set[str | None]:
    """Returns the persons whom a request is about, as its provider reads it."""
    if provider is None:
        return set()
    try:
        request = unpack_request(kept.request)
        items = provider.parse(push_of(request, from_micros(kept.received_at)))
    except (PushError, msgspec.MsgspecError):
        return set()
    return {item.subject for item in items if isinstance(item, Parsed)}
