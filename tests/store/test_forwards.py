"""What is to be forwarded, as the store keeps it: in line for each person."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config import StoreAddress
from receiver.handlers import Forward
from receiver.store import Store, handler_results, jobs
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.schema import APPLICATION_ID, migrate, migrations
from receiver.store.ids import EventIds
from receiver.store.job_reads import JobReader
from receiver.store.records import to_micros
from receiver.store.tx import execute_many
from tests.harness import NOW
from tests.store.conftest import Stores
from tests.store.rows import PERSON, fail, finish, intake, opened
from tests.store.sql import look
from tests.stored import AtOnce

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(minutes=5)


async def wish(store: Store, id_: int, person: str | None, *targets: str) -> None:
    """An event of a person, and a handler that wants it forwarded."""
    taken = await store.take(intake(store, id_, jobs=["mine.f"], subject=person))
    done = finish(taken.jobs[0], taken.seq, *(Forward(target=t) for t in targets))
    await store.run(handler_results.finish, done)


async def due(store: Store, target: str = "crm", limit: int = 100) -> list[str]:
    """The providers' ids of the messages that may be forwarded now."""
    found = await store.reader.work.due("forward", target, NOW, limit=limit)
    assert all(job.event is not None for job in found)
    return [getattr(job.event.data, "external_id", "") for job in found if job.event]


async def test_one_persons_events_are_in_line(address: StoreAddress) -> None:
    """The first of each may be forwarded; of nobody's all; each target has a line of its own."""
    async with opened(address) as store:
        for id_, person in enumerate(["+1", "+2", "+1", None, None, "+2"]):
            await wish(store, id_, person, "crm", *(["games"] if id_ > 1 else []))
        assert await due(store) == ["0", "1", "3", "4"]
        assert await due(store, limit=3) == ["0", "1", "3"]
        assert await due(store, "games") == ["2", "3", "4", "5"]
        (first, second, *_) = await store.reader.work.due("forward", "crm", NOW, limit=9)
        await store.run(jobs.end, first.id, 0)
        await fail(store, second.id, LATER, "no")
        assert await due(store) == ["2", "3", "4"]
        await fail(store, second.id, None, "never")
        assert await due(store) == ["2", "3", "4", "5"]
        (dead,) = await store.reader.jobs(state="dead")
        assert (dead.target, dead.attempts, dead.error) == ("crm", 2, "never")


async def test_nobody_is_in_line_who_has_one_under_way(address: StoreAddress) -> None:
    """Neither before nor behind it: an earlier one may have come back from the dead."""
    async with opened(address) as store:
        for id_, person in enumerate(["+1", "+1", "+1", "+2"]):
            await wish(store, id_, person, "crm")
        second = (await store.reader.jobs(kind="forward"))[1]
        assert await store.run(jobs.claim, 7, [second.id]) == {second.id}
        assert await due(store) == ["3"]
        await store.run(jobs.hand_back, 7)
        assert await due(store) == ["0", "3"]


async def test_lanes_that_wait_are_found(address: StoreAddress) -> None:
    """Those with something due, whatever else there is."""
    async with opened(address) as store:
        assert await lanes(store) == []
        await wish(store, 1, PERSON, "b", "a", "c", "a")
        await wish(store, 2, PERSON, "b", "c")
        assert await lanes(store) == ["a", "b", "c"]
        assert await store.run(jobs.bury, "forward", "a", jobs.NEVER, "gone") == 2
        for job in await store.reader.jobs(kind="forward"):
            if job.target == "c":
                await fail(store, job.id, LATER, "no")
        assert await lanes(store) == ["b"]
        await store.run(jobs.hurry_lane, "forward", "c", to_micros(NOW))
        assert await lanes(store) == ["b", "c"]
        await store.take(intake(store, 3, jobs=["mine.f"]))
        assert await store.reader.work.lanes(NOW) == [
            ("handle", ""),
            ("forward", "b"),
            ("forward", "c"),
        ]


async def lanes(store: Store) -> list[str]:
    """The targets for which something is due."""
    return [lane for _, lane in await store.reader.work.lanes(NOW)]


async def test_only_what_has_waited_so_long_is_given_up(address: StoreAddress) -> None:
    """By when it was due."""
    async with opened(address) as store:
        await wish(store, 1, "+1", "crm")
        await wish(store, 2, "+2", "crm")
        (first, _) = await store.reader.jobs(kind="forward")
        await fail(store, first.id, LATER, "no")
        assert await store.run(jobs.bury, "forward", "crm", to_micros(NOW), "given up") == 1
        assert [job.error for job in await store.reader.jobs(kind="forward")] == ["no", "given up"]


async def test_a_forward_whose_event_is_gone_is_found(address: StoreAddress) -> None:
    """So that it can become a dead letter, and nobody waits behind it."""
    async with opened(address) as store:
        await wish(store, 1, PERSON, "crm")
        await store.writer.run(lambda db: db.execute("DELETE FROM events"))
        (job,) = await store.reader.work.due("forward", "crm", NOW, limit=9)
        assert (job.event, job.person, job.missing) == (None, PERSON, "its event is gone")


PEOPLE = st.sampled_from(["+1", "+2", "+3", None])
#: Person, state, due in how many seconds, whether it is under way.
JOBS = st.lists(
    st.tuples(PEOPLE, st.sampled_from(["due", "dead"]), st.integers(-1, 1), st.booleans())
)


@given(JOBS)
def test_the_line_is_as_a_person_would_draw_it(
    stores: Stores,
    made: list[tuple[str | None, str, int, bool]],
) -> None:
    """Whatever is due, put off, under way and dead: the first of a person, if it is its turn."""
    with stores.scratch() as db:
        execute_many(
            db,
            "INSERT INTO jobs (kind, handler, created_at, target, subject, state, due_at, owner)"
            " VALUES ('forward', 'f', 0, 'crm', ?, ?, ?, ?)",
            [
                (person, state, to_micros(NOW) + late, 1 if owned and state == "due" else None)
                for person, state, late, owned in made
            ],
        )
        reader = JobReader(AtOnce(db), EventIds(0))
        found = asyncio.run(reader.due("forward", "crm", NOW, limit=1000))
        ids = [id_ for (id_,) in db.execute("SELECT id FROM jobs ORDER BY id")]
    busy = {person for person, state, _, owned in made if owned and state == "due"}
    expected, blocked = [], busy - {None}
    for id_, (person, state, late, owned) in zip(ids, made, strict=True):
        if state == "due" and not owned and (person is None or person not in blocked):
            blocked.add(person)
            if late <= 0:
                expected.append((late, id_))
    assert [job.id for job in found] == [id_ for _, id_ in sorted(expected)]


def test_what_waits_is_found_by_indexes() -> None:
    """However much waits, nothing is read through from one end to the other."""
    asked: list[tuple[str, list[Any]]] = []

    async def fetch(query: str, values: list[Any]) -> list[Any]:
        asked.append((query, values))
        return []

    connection: Any = SimpleNamespace(fetch=fetch, stream=fetch)
    reader = JobReader(connection, EventIds(0))
    for kind in ("handle", "send", "poll", "deactivate", "forward"):
        asyncio.run(reader.due(kind, "lane", NOW, limit=9))
    asyncio.run(reader.lanes(NOW))
    asked.append((jobs._WAITS, ["handle", PERSON, 0, 1]))
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db)
        for query, values in asked:
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
            scans = {step for step in plan if step.startswith("SCAN")}
            assert scans <= {"SCAN k", "SCAN lanes", "SCAN 6 CONSTANT ROWS"}, plan
            of_person = [step for step in plan if step.startswith("SEARCH o ")]
            of_person += [s for s in plan if "jobs" in s] if query == jobs._WAITS else []
            assert all("lane=? AND subject=?" in step for step in of_person), plan
            assert not [step for step in plan if "TEMP B-TREE" in step], plan


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
