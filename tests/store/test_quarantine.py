"""The quarantine: what could not become an event, within its caps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from receiver.config import StoreAddress
from receiver.store import PurgeKind, Store, purges, quarantine
from tests.harness import NOW
from tests.store.rows import RAW, REQUEST, opened

pytestmark = pytest.mark.anyio


async def keep(store: Store, *, size: int = 0, **fields: Any) -> None:
    """Puts a request of about `size` bytes into the quarantine."""
    request = RAW
    if size:
        request = msgspec.msgpack.encode(msgspec.structs.replace(REQUEST, body=bytes(size)))
    entry: dict[str, Any] = {
        "source": "tilil",
        "authenticated": True,
        "outcome": "malformed",
        "reason": "expected inbox_id",
        "received_at": NOW,
        "client": "192.0.2.1",
        "request": request,
        "max_rows": 10,
        "max_bytes": 10_000,
    }
    await store.run(quarantine.add, **{**entry, **fields})


async def test_a_request_comes_back_as_it_was(address: StoreAddress) -> None:
    """With its bytes, and why it is there."""
    async with opened(address) as store:
        await keep(store)
        (entry,) = await store.reader.quarantined()
        assert entry.request == REQUEST
        assert (entry.source, entry.outcome, entry.reason) == (
            "tilil",
            "malformed",
            "expected inbox_id",
        )
        assert (entry.received_at, entry.client, entry.authenticated) == (NOW, "192.0.2.1", True)


async def test_the_newest_rows_are_kept(address: StoreAddress) -> None:
    """Beyond the cap in rows the oldest go."""
    async with opened(address) as store:
        for n in range(25):
            await keep(store, reason=str(n))
        reasons = [entry.reason for entry in await store.reader.quarantined()]
        assert reasons == [str(n) for n in range(24, 14, -1)]


async def test_the_newest_bytes_are_kept(address: StoreAddress) -> None:
    """Beyond the cap in bytes the oldest go, however few rows there are."""
    async with opened(address) as store:
        for n in range(9):
            await keep(store, size=3000, reason=str(n))
        reasons = [entry.reason for entry in await store.reader.quarantined()]
        assert reasons == ["8", "7", "6"]


async def test_a_request_larger_than_the_cap_is_not_kept(address: StoreAddress) -> None:
    """Not even alone, and it takes no other with it that fits."""
    async with opened(address) as store:
        await keep(store, size=20_000)
        assert await store.reader.quarantined() == []
        await keep(store, size=100, reason="fits")
        assert [entry.reason for entry in await store.reader.quarantined()] == ["fits"]


async def test_strangers_push_out_nothing_of_the_providers_own(address: StoreAddress) -> None:
    """The two kinds have caps of their own."""
    async with opened(address) as store:
        for n in range(5):
            await keep(store, reason=f"own {n}", size=1500)
        for n in range(30):
            await keep(store, reason=f"stranger {n}", authenticated=False, size=1500)
        await keep(store, reason="own 5", size=1500)
        found = await store.reader.quarantined()
        own = [entry.reason for entry in found if entry.authenticated]
        strangers = [entry.reason for entry in found if not entry.authenticated]
        assert own == [f"own {n}" for n in range(5, -1, -1)]
        assert strangers == [f"stranger {n}" for n in range(29, 23, -1)]


async def test_entries_are_dropped_one_by_one(address: StoreAddress) -> None:
    """What became an event after all leaves, the others stay; ids are not used again."""
    async with opened(address) as store:
        for n in range(3):
            await keep(store, reason=str(n))
        newest, _, _ = await store.reader.quarantined()
        await store.run(purges.drop, PurgeKind.QUARANTINE, [newest.id])
        assert [entry.reason for entry in await store.reader.quarantined()] == ["1", "0"]
        assert await store.reader.quarantined(newest.id) == []
        await keep(store)
        assert (await store.reader.quarantined())[0].id > newest.id


async def test_pages_of_the_quarantine(address: StoreAddress) -> None:
    """It is read newest first, as many at a time as asked for."""
    async with opened(address) as store:
        for n in range(7):
            await keep(store, reason=str(n))
        first = await store.reader.quarantined(limit=3)
        second = await store.reader.quarantined(before=first[-1].id, limit=3)
        assert [entry.reason for entry in [*first, *second]] == ["6", "5", "4", "3", "2", "1"]
