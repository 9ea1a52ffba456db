"""Forgetting a person, at their own wish: all that is about them goes, everywhere in the store.

What has to outlive it does so without the number: the ids by which providers' repeats are known,
and opt-outs, so that somebody who was forgotten is not messaged again.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from receiver.msisdn import national_digits, spellings
from receiver.store import Kind, Store

#: Events of one transaction: more would hold up the pushes.
_PIECE = 32


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone, and what could not go."""

    gone: Counter[str]
    left: list[str]
    """A line each, with what to do."""


async def obstacles(store: Store, msisdn: str) -> list[str]:
    """Why the person should not be forgotten yet: they may still be charged, unseen."""
    holding = await store.reader.persons.holding(msisdn)
    found = []
    for source, short_code, service_id in holding.subscriptions:
        about = " ".join(filter(None, (short_code, service_id and f"service {service_id}")))
        found.append(f"subscribed at {source} to {about or 'what has no name'}")
    if holding.deactivations:
        found.append("the provider has yet to be told that a subscription ends (`receiver jobs`)")
    return found


async def forget(store: Store, msisdn: str) -> Forgotten:
    """Lets go of all that is about a person. Raises `StoreUnavailable`; done again it goes on."""
    names = spellings(msisdn)
    gone = await store.forget(msisdn, names)  # first: nothing more is sent to them
    busy = 0
    after = 0
    while seqs := await store.reader.persons.events(msisdn, after, _PIECE):
        dropped = await store.drop(Kind.EVENTS, seqs, wanted_or_not=True)
        busy += len(seqs) - dropped["events"]
        gone += dropped
        after = seqs[-1]
    digits = national_digits(msisdn).encode()
    found = await store.reader.persons.quarantined(digits)
    for start in range(0, len(found), _PIECE):
        gone += await store.drop(Kind.QUARANTINE, found[start : start + _PIECE])
    left = []
    if busy:
        left.append(f"{busy} events are being answered just now; forget again in a minute")
    if sending := await store.reader.persons.messages(names):
        left.append(f"{sending} messages are being sent just now; forget again in a minute")
    return Forgotten(gone=gone, left=left)
