"""What is to be forwarded, as the store keeps it: in line for each person."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import Forward
from receiver.store import Store
from receiver.store.engine.database import open_writer
from receiver.store.engine.schema import APPLICATION_ID, migrate, migrations
from receiver.store.forward_reads import ForwardReader
from receiver.store.ids import EventIds
from receiver.store.records import to_micros
from tests.harness import NOW, look
from tests.store.rows import PERSON, finish, intake, opened

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(minutes=5)


async def wish(store: Store, id_: int, person: str | None, *targets: str) -> None:
    """An event of a person, and a handler that wants it forwarded."""
    taken = await store.take(intake(store, id_, jobs=["mine.f"], subject=person))
    await store.finish(finish(taken.jobs[0], taken.seq, *(Forward(target=t) for t in targets)))


async def due(store: Store, target: str = "crm", limit: int = 100) -> list[str]:
    """The providers' ids of the messages that may be forwarded now."""
    found = await store.reader.forwards.due(target, NOW, limit=limit)
    assert all(job.event is not None for job in found)
    return [getattr(job.event.data, "external_id", "") for job in found if job.event]


async def test_one_persons_events_are_in_line(tmp_path: Path) -> None:
    """The first of each may be forwarded; of nobody's all; each target has a line of its own."""
    async with opened(tmp_path) as store:
        for id_, person in enumerate(["+1", "+2", "+1", None, None, "+2"]):
            await wish(store, id_, person, "crm", *(["games"] if id_ > 1 else []))
        assert await due(store) == ["0", "1", "3", "4"]
        assert await due(store, limit=3) == ["0", "1", "3"]
        assert await due(store, "games") == ["2", "3", "4", "5"]
        (first, second, *_) = await store.reader.forwards.due("crm", NOW, limit=9)
        await store.forwards.done(first.id)
        await store.forwards.put_off(second.id, LATER, "no")
        assert await due(store) == ["2", "3", "4"]
        await store.forwards.kill(second.id, "never")
        assert await due(store) == ["2", "3", "4", "5"]
        (dead,) = await store.reader.jobs(state="dead")
        assert (dead.target, dead.attempts, dead.error) == ("crm", 2, "never")


async def test_targets_that_wait_are_found(tmp_path: Path) -> None:
    """Those with something due, whatever else there is."""
    async with opened(tmp_path) as store:
        assert await store.reader.forwards.waiting(NOW, limit=9) == []
        await wish(store, 1, PERSON, "b", "a", "c", "a")
        await wish(store, 2, PERSON, "b", "c")
        assert await store.reader.forwards.waiting(NOW, limit=9) == ["a", "b", "c"]
        assert await store.reader.forwards.waiting(NOW, limit=2) == ["a", "b"]
        assert await store.forwards.kill_all("a", None, "gone") == 2
        for job in await store.reader.jobs(kind="forward"):
            if job.target == "c":
                await store.forwards.put_off(job.id, LATER, "no")
        assert await store.reader.forwards.waiting(NOW, limit=9) == ["b"]
        assert await store.forwards.hurry("c", NOW) == 2
        assert await store.reader.forwards.waiting(NOW, limit=9) == ["b", "c"]


async def test_only_what_has_waited_so_long_is_given_up(tmp_path: Path) -> None:
    """By when it was due."""
    async with opened(tmp_path) as store:
        await wish(store, 1, "+1", "crm")
        await wish(store, 2, "+2", "crm")
        (first, _) = await store.reader.jobs(kind="forward")
        await store.forwards.put_off(first.id, LATER, "no")
        assert await store.forwards.kill_all("crm", NOW, "given up") == 1
        assert [job.error for job in await store.reader.jobs(kind="forward")] == ["no", "given up"]


async def test_a_forward_whose_event_is_gone_is_found(tmp_path: Path) -> None:
    """So that it can become a dead letter, and nobody waits behind it."""
    async with opened(tmp_path) as store:
        await wish(store, 1, PERSON, "crm")
        await store.writer.run(lambda db: db.execute("DELETE FROM events"))
        (job,) = await store.reader.forwards.due("crm", NOW, limit=9)
        assert (job.event, job.person) == (None, PERSON)


PEOPLE = st.sampled_from(["+1", "+2", "+3", None])
#: Person, state, due in how many seconds.
JOBS = st.lists(st.tuples(PEOPLE, st.sampled_from(["due", "dead"]), st.integers(-1, 1)))


@given(JOBS)
def test_the_line_is_as_a_person_would_draw_it(jobs: list[tuple[str | None, str, int]]) -> None:
    """Whatever is due, put off and dead: the first of a person that is not dead, if it is due."""
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db)
        db.executemany(
            "INSERT INTO jobs (kind, handler, created_at, target, subject, state, due_at)"
            " VALUES ('forward', 'f', 0, 'crm', ?, ?, ?)",
            [(person, state, to_micros(NOW) + late) for person, state, late in jobs],
        )

        async def fetch(query: str, values: list[Any]) -> list[Any]:
            return list(db.execute(query, values))

        found = asyncio.run(ForwardReader(fetch, EventIds(0)).due("crm", NOW, limit=1000))
    expected, blocked = [], set()
    for number, (person, state, late) in enumerate(jobs, 1):
        if state == "due" and (person is None or person not in blocked):
            blocked.add(person)
            if late <= 0:
                expected.append(number)
    assert [job.id for job in found] == expected


def test_the_lines_are_found_by_indexes() -> None:
    """However much waits, nothing is read through from one end to the other."""
    asked: list[tuple[str, list[Any]]] = []

    async def fetch(query: str, values: list[Any]) -> list[Any]:
        asked.append((query, values))
        return []

    reader = ForwardReader(fetch, EventIds(0))
    asyncio.run(reader.due("crm", NOW, limit=9))
    asyncio.run(reader.waiting(NOW, limit=9))
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db)
        for query, values in asked:
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
            assert not [step for step in plan if step.startswith("SCAN") and "names" not in step]
            assert not [step for step in plan if "TEMP B-TREE" in step]


def test_what_older_programs_were_asked_to_forward_is_in_line(tmp_path: Path) -> None:
    """They kept it as jobs; now each has its target and its person."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("".join(migrations()[:2]) + "PRAGMA user_version = 2;")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(
            "INSERT INTO events (seq, source, key, provider, type, subject, time, received_at,"
            " data, answer, reply) VALUES (7, 's', 'k', 'p', 't', ?, 0, 0, x'', x'', 0)",
            (PERSON,),
        )
        db.execute(
            "INSERT INTO jobs (kind, event, handler, payload, due_at, created_at)"
            " VALUES ('forward', 7, 'f', ?, 0, 0)",
            (b'{"type":"forward","url":"https://example.com/in"}',),
        )
        db.commit()
    open_writer(path).close()
    assert look(path, "SELECT target, subject FROM jobs") == [("https://example.com/in", PERSON)]
