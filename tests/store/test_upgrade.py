"""Stores of every earlier schema, made by the programs of their time, under today's program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.logs.requests import unlogged_entry
from receiver.providers import Push
from receiver.service.parts import Service
from receiver.store import StoredEvent, from_micros, unpack_request
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.schema import APPLICATION_ID, migrations
from tests.cli.program import table
from tests.harness import NOW, TOKEN, Clock, inbound, opened, take, until_async, write
from tests.harness import with_plugin as configured
from tests.store.sql import look

pytestmark = pytest.mark.anyio

SAMPLES = sorted((Path(__file__).parent / "samples").glob("schema-*.sql"))
#: The handlers whose jobs are in the samples; today they work.
PLUGIN = """
from receiver.handlers import Reply, on_message

@on_message(keyword="LATER")
def later(event, context):
    return Reply("it works")

@on_message(keyword="NEVER")
def never(event, context):
    return Reply("it works at last")

@on_message(keyword="SELL")
def offer(event, context): ...
"""

each_schema = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
#: The columns of `meta` since schema 10, by the values that they hold; before it had one.
META: dict[type, str] = {int: "value", str: "text", bytes: "bytes", type(None): "value"}
#: What a table has, by its columns.
Rows = list[dict[str, Any]]


def made(sample: Path, folder: Path) -> Path:
    """The store of a sample, as a file."""
    path = folder / "receiver.db"
    path.touch(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.executescript(sample.read_text("utf-8"))
    return path


def raw() -> dict[str, Any]:
    """The configuration of the samples, of today."""
    plugins = ("opt_out", "keyword_reply", "subscriptions")
    made = configured(PLUGIN, *plugins)
    made["plugins"]["keyword_reply"] = {
        "rules": [{"keyword": "GAME", "reply": "Welcome {{ msisdn }}"}]
    }
    made["sources"] = {"tilil": {"provider": "tilil", "tokens": [TOKEN]}}
    return made


def tables(path: Path) -> dict[str, Rows]:
    """Every row of a store."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        names = [
            row["name"]
            for row in db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in names}


def later() -> Clock:
    """A clock, when all that waited for its time is due."""
    return Clock(NOW + timedelta(hours=1))


def test_every_earlier_schema_has_its_sample() -> None:
    """A new schema does not come without one of the schema before it."""
    assert [sample.stem for sample in SAMPLES][: len(migrations()) - 1] == [
        f"schema-{version}" for version in range(1, len(migrations()))
    ]


@each_schema
def test_every_row_stays(sample: Path, tmp_path: Path) -> None:
    """In every column that there still is; the handler_actions of jobs may have become messages."""
    path = made(sample, tmp_path)
    before = tables(path)
    assert {"events", "jobs", "subscriptions", "opt_outs", "quarantine"} <= {
        name for name, rows in before.items() if rows
    }
    open_writer(path).close()
    after = tables(path)
    for name, rows in before.items():
        for row in rows:
            if name == "jobs":
                del row["payload"]
                row.pop("subject", None)  # that of handlers and messages has been added
            if name == "events" and row["key"].startswith("subscription:"):
                del row["key"]  # held the number
            if name == "meta":
                value = row.pop("value")
                row[META[type(value)]] = value
            # With the columns that are gone as they were.
            assert any({**row, **new}.items() >= row.items() for new in after[name]), (name, row)
        assert len(after[name]) >= len(rows)
    assert not [row for row in after["jobs"] if row["kind"] == "deactivate" and not row["subject"]]
    assert look(path, "PRAGMA integrity_check") == [("ok",)]


@each_schema
async def test_repeats_are_answered_as_before(sample: Path, tmp_path: Path) -> None:
    """Every push that is stored, sent again as it came, gets the same bytes and is nothing new."""
    made(sample, tmp_path)
    async with opened(tmp_path, raw(), later()) as service:
        before = await _events(service)
        assert len(before) >= 11
        for stored_event in before:
            assert stored_event.request is not None
            answer = await _again(service, stored_event)
            assert answer == stored_event.answer
        assert [event.event.id for event in await _events(service)] == [
            event.event.id for event in before
        ]
    assert sum(b"Welcome +254726770792" in event.answer for event in before) == 1


async def _events(service: Service) -> list[StoredEvent]:
    return [event async for event in service.store.reader.events(limit=100, request=True)]


async def _again(service: Service, event: StoredEvent) -> bytes:
    request = event.request
    assert request is not None
    push = Push(
        method=request.method,
        token=request.token,
        query=request.query,
        headers=request.headers,
        body=request.body,
        received_at=service.intake.clock(),
        client=request.client,
    )
    answer = await service.intake.receive(service.intake.endpoints["tilil"], push, unlogged_entry())
    return answer.body


@each_schema
async def test_work_goes_on(sample: Path, tmp_path: Path) -> None:
    """What was due is handled, what was dead can be revived, and new pushes are taken."""
    path = made(sample, tmp_path)
    async with opened(tmp_path, raw(), later()) as service:
        reader = service.store.reader

        async def left() -> list[str] | None:
            jobs = [job.handler for job in await reader.jobs() if job.kind == "handle"]
            return jobs if "mine.later" not in jobs else None

        assert await until_async(left, "the job that was due is done") == ["mine.never"]
        assert await service.store.revive(None, service.intake.clock()) >= 1
    async with opened(tmp_path, raw(), later()) as service:

        async def done() -> bool:
            return not [j for j in await service.store.reader.jobs() if j.kind == "handle"]

        await until_async(done, "the job that was dead is done")
        assert (await take(service, inbound("new", "Game two"))).body
    texts = {text for (text,) in look(path, "SELECT text FROM messages")}
    assert {"it works", "it works at last", "A customer: +254711000666"} <= texts


@each_schema
def test_commands_show_everything(sample: Path, tmp_path: Path) -> None:
    """The lists of today's program, from stores of that time."""
    path = made(sample, tmp_path)
    before = tables(path)
    write(tmp_path, raw())
    open_writer(path).close()
    events = table(tmp_path, "events")
    assert len(events) == len(before["events"])
    assert any(
        '\U0001f600 it\'s\na "text"' in (event["data"].get("text") or "") for event in events
    )
    opted_out = {row["msisdn"] for row in before["opt_outs"]}
    assert {row["msisdn"] for row in table(tmp_path, "opt-outs")} == opted_out
    assert opted_out >= {"+254733000333", "+254733000777"}
    book = table(tmp_path, "subscribers")
    assert len(book) == len(before["subscriptions"])
    assert len(table(tmp_path, "subscribers", "--history")) == len(before["subscription_history"])
    assert len(table(tmp_path, "quarantine")) == len(before["quarantine"]) == 2
    messages = {row["text"] for row in table(tmp_path, "messages")}
    assert "A customer: +254711000666" in messages
    assert {row["text"] for row in before.get("messages", [])} <= messages


def test_samples_are_real(tmp_path: Path) -> None:
    """Their requests can be read, and their times are those of the tests."""
    for sample in SAMPLES:
        folder = tmp_path / sample.stem
        folder.mkdir()
        for row in tables(made(sample, folder))["events"]:
            assert from_micros(row["received_at"]) == NOW
            assert unpack_request(row["request"]).method == "POST"


def test_what_was_to_be_ended_at_a_provider_knows_its_subscription(tmp_path: Path) -> None:
    """It stood in the JSON of the job alone; now the book is asked by columns."""
    path = tmp_path / "old.db"
    add = (
        "INSERT INTO jobs (kind, handler, source, payload, due_at, created_at)"
        " VALUES (?, ?, ?, ?, 0, 0)"
    )
    whole = b'{"msisdn":"+254726770792","short_code":"22915","service_id":"32"}'
    with closing(sqlite3.connect(path)) as db:
        db.executescript("".join(migrations()[:3]) + "PRAGMA user_version = 3;")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(add, ("deactivate", "f", "tilil", whole))
        db.execute(add, ("deactivate", "f", "tilil", b'{"msisdn":"+254711000002"}'))
        db.execute(add, ("handle", "f", None, None))
        db.commit()
    open_writer(path).close()
    assert look(path, "SELECT subject, short_code, service_id FROM jobs ORDER BY id") == [
        ("+254726770792", "22915", "32"),
        ("+254711000002", "", ""),
        (None, None, None),
    ]
