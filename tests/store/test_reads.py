"""Looking into the store, beside a service and without one."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.config import StoreAddress
from receiver.errors import StoreUnavailable, StoreUnusable
from receiver.store import Reader, open_reader
from tests.harness import NOW
from tests.store.rows import PERSON, fail, intake, opened
from tests.stored import interrupt

pytestmark = pytest.mark.anyio

OTHER = "+254711000000"


async def found(reader: Reader, **conditions: Any) -> list[str]:
    """The providers' ids of the events under these conditions."""
    return [stored.key.removeprefix("message:") async for stored in reader.events(**conditions)]


async def test_events_are_found_by_what_they_are(address: StoreAddress) -> None:
    """Newest first; by person, source, type, time, and from one event on."""
    async with opened(address) as store:
        for n in range(4):
            await store.take(
                intake(
                    store,
                    n,
                    subject=PERSON if n % 2 else OTHER,
                    source="tilil" if n < 3 else "tilil-2",
                    received_at=NOW + timedelta(hours=n),
                )
            )
        reader = store.reader
        seqs = [stored.seq async for stored in reader.events()]
        assert await found(reader) == ["3", "2", "1", "0"]
        assert await found(reader, limit=2) == ["3", "2"]
        assert await found(reader, msisdn=PERSON) == ["3", "1"]
        assert await found(reader, source="tilil-2") == ["3"]
        assert await found(reader, since=NOW + timedelta(hours=2)) == ["3", "2"]
        assert await found(reader, type_="sms.delivery.updated") == []
        assert await found(reader, after=seqs[-2]) == ["2", "3"]
        assert await reader.last_seq() == seqs[0]


async def test_all_work_is_found(address: StoreAddress) -> None:
    """A stretch at a time, in the order in which it was asked for; what is dead, alone."""
    many = 1100
    async with opened(address) as store:
        taken = await store.take(intake(store, jobs=[f"mine.{n}" for n in range(many)]))
        ids = list(taken.jobs)
        dead = [ids[0], ids[-1]]
        for job in dead:
            await fail(store, job, None, "no")
        assert [job.id async for job in store.reader.every_job()] == ids
        assert [job.id async for job in store.reader.every_job(state="dead")] == dead
        due = await store.reader.jobs(state="due", kind="handle", due=NOW, limit=many)
        assert [job.id for job in due] == ids[1:-1]


async def test_an_event_is_found_by_its_id(address: StoreAddress) -> None:
    """In either case of its letters; what is no id of this store is no event."""
    async with opened(address) as store:
        id_ = store.ids.text((await store.take(intake(store, 1))).seq)
        for text in (id_, id_.upper()):
            stored = await store.reader.event(text)
            assert stored is not None
            assert stored.key == "message:1"
        for text in ("", "x", id_[:-1] + ("0" if id_[-1] != "0" else "1"), store.ids.text(12345)):
            assert await store.reader.event(text) is None


async def test_a_reader_cannot_write(address: StoreAddress) -> None:
    """Whatever a query is, a reader changes nothing."""
    async with opened(address) as store:
        with pytest.raises(StoreUnavailable, match=r"readonly|read-only"):
            await store.reader._fetch("DELETE FROM meta")


async def test_a_reader_beside_the_service_sees_what_is_committed(address: StoreAddress) -> None:
    """Commands look into the store of a running service."""
    async with opened(address) as store, open_reader(store.address) as reader:
        for n in range(3):
            await store.take(intake(store, n))
            assert (await found(reader))[0] == str(n)


async def test_a_damaged_page_is_told_with_the_file(tmp_path: Path) -> None:
    """What SQLite cannot read is our error, and names the file."""
    async with opened(tmp_path) as store:
        for n in range(150):  # more than half of the file, whose beginning is the schema
            await store.take(intake(store, n, answer=bytes(5000)))
    path = tmp_path / "receiver.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    async with open_reader(path) as reader:
        with pytest.raises(
            StoreUnavailable, match=r"receiver\.db: database disk image is malformed"
        ):
            await found(reader)


async def test_a_persons_events_are_found_among_many(address: StoreAddress) -> None:
    """However they are indexed: as many as make several runs of the index, and a rest."""
    async with opened(address) as store:
        for start in range(0, 17_000, 1000):
            rows = [
                intake(store, n, subject=PERSON if n % 700 == 0 else f"+25471{n:07}")
                for n in range(start, start + 1000)
            ]
            await asyncio.gather(*[store.take(row) for row in rows])
        expected = [str(n) for n in range(0, 17_000, 700)]
        assert await found(store.reader, msisdn=PERSON) == expected[::-1]
        assert await found(store.reader, msisdn=PERSON, after=0) == expected
        assert await found(store.reader, msisdn="+254710000001") == ["1"]
        assert await found(store.reader, msisdn="+254790000001") == []
    async with opened(address) as store:
        assert await found(store.reader, msisdn=PERSON) == expected[::-1]


async def test_there_is_nothing_to_read_without_a_store(tmp_path: Path) -> None:
    """A reader makes no file, and says what makes it."""
    path = tmp_path / "receiver.db"
    with pytest.raises(StoreUnusable, match="no such store; `receiver serve` makes it"):
        async with open_reader(path):
            pass
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
async def test_a_reader_refuses_what_is_no_store(tmp_path: Path, content: bytes) -> None:
    """An empty file or garbage is named, and stays as it is."""
    path = tmp_path / "receiver.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match=r"receiver\.db: "):
        async with open_reader(path):
            pass
    assert path.read_bytes() == content


async def test_a_reader_refuses_another_programs_file(tmp_path: Path) -> None:
    """An SQLite file of something else is not read as events."""
    path = tmp_path / "receiver.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE events (x)")
    with pytest.raises(StoreUnusable, match="not a store of sms-receiver"):
        async with open_reader(path):
            pass


async def test_a_slow_look_for_metrics_holds_up_no_other_read(address: StoreAddress) -> None:
    """It has a connection of its own: work is found and people are looked up meanwhile."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    async with opened(address) as store:
        aside: Any = store.metrics
        look = asyncio.create_task(aside._fetch(endless, []))
        read = asyncio.create_task(store.reader.event_by_seq(1))
        try:
            await asyncio.wait({look, read}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            assert (look.done(), read.done()) == (False, True)
        finally:
            while not look.done():  # it may not have begun yet when it is interrupted
                await interrupt(aside._fetch.__self__)
                await asyncio.wait({look}, timeout=0.05)
        with pytest.raises(StoreUnavailable):
            await look
