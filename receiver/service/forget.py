"""Forgetting a person, at their own wish: all that is about them goes, everywhere in the store.

What has to outlive it does so without the number: the ids by which providers' repeats are known,
and opt-outs, so that somebody who was forgotten is not messaged again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from receiver.errors import PushError
from receiver.providers import Provider, Push
from receiver.store import (
    PurgeKind,
    QuarantineRow,
    Store,
    forgetting,
    from_micros,
    purges,
    unpack_request,
)
from receiver.store.spellings import Spelled
from receiver.text.msisdn import spellings

#: Events of one transaction: more would hold up the pushes.
_PIECE = 32


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone, and what could not go."""

    gone: Counter[str]
    left: list[str]
    """A line each, with what to do."""


async def obstacles(store: Store, msisdn: str) -> list[str]:
    """Why the person should not be forgotten yet: they may still be charged, unseen."""
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
    """Lets go of all that is about a person. Raises `StoreUnavailable`; done again it goes on.

    `providers`: by source, to read what is in the quarantine as they would.
    """
    reader, names, spelled = store.reader.persons, spellings(msisdn), Spelled(msisdn)
    gone: Counter[str] = Counter()
    # While their messages are there: of most reports nothing else tells whose they are.
    await _drop(store, PurgeKind.EVENTS, await reader.reports(names), gone)
    gone += await store.run(
        forgetting.forget, msisdn, names
    )  # from now on nothing more is sent to them
    busy = 0
    after = 0
    while seqs := await reader.events(msisdn, after, _PIECE):
        busy += len(seqs) - await _drop(store, PurgeKind.EVENTS, seqs, gone)
        after = seqs[-1]
    named = await reader.named(spelled.is_in_word)
    for piece in _pieces(named):
        await _drop(store, PurgeKind.EVENTS, await reader.nobodys(piece), gone)
        await store.run(forgetting.rename_keys, piece)

    def is_theirs(kept: QuarantineRow) -> bool:
        if spelled.stands_in(kept.request) or spelled.stands_in(kept.reason.encode()):
            return True
        return msisdn in _subjects(kept, (providers or {}).get(kept.source))

    await _drop(store, PurgeKind.QUARANTINE, await reader.quarantined(is_theirs), gone)
    left = []
    if busy:
        left.append(f"{busy} events are being answered just now; forget again in a minute")
    if sending := await reader.messages(names):
        left.append(f"{sending} messages are being sent just now; forget again in a minute")
    return Forgotten(gone=gone, left=left)


async def _drop(store: Store, kind: PurgeKind, ids: Sequence[int], gone: Counter[str]) -> int:
    """Lets go of these; how many went. All that went is counted in `gone`."""
    dropped: Counter[str] = Counter()
    for piece in _pieces(ids):
        dropped += await store.run(purges.drop, kind, piece, wanted_or_not=kind is PurgeKind.EVENTS)
    gone += dropped
    return dropped[kind]


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _PIECE):
        yield ids[start : start + _PIECE]


def _subjects(kept: QuarantineRow, provider: Provider[Any] | None) -> set[str | None]:
    """Returns the persons that a request is about, as its provider reads it."""
    if provider is None:
        return set()
    try:
        request = unpack_request(kept.request)
        push = Push(
            method=request.method,
            token=request.token,
            query=request.query,
            headers=request.headers,
            body=request.body,
            received_at=from_micros(kept.received_at),
        )
        return {parsed.subject for parsed in provider.parse(push)}
    except (PushError, msgspec.MsgspecError):
        return set()
