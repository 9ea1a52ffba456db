"""What earlier programs stored is brought into the one form of numbers, once."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from receiver import providers
from receiver.config import parse
from receiver.errors import StoreUnusable
from receiver.service import renumber
from receiver.store import Normaliser, open_store, renumbering
from receiver.store.engine.sqlite import schema
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.schema import migrations
from receiver.store.renumbering import _STAGES, progress, step
from tests.cli.program import table, told
from tests.harness import opened, until_async, write
from tests.postgresql.databases import Databases
from tests.store.sql import look
from tests.store.sql import opened as opened_by_sql
from tests.store.test_moving import moved
from tests.store.test_upgrade import SAMPLES, later, made, raw, tables

pytestmark = pytest.mark.anyio

#: Made by the last program that kept numbers as they came.
SAMPLE = next(sample for sample in SAMPLES if sample.stem == "schema-4")
OURS = "+254700000001"


def forms() -> Normaliser:
    """The one form, in Kenya."""
    return renumber.forms(providers.create(parse(plain(), Path("receiver.toml"))))


def plain() -> dict[str, Any]:
    """The configuration of the samples, without what `write` takes out."""
    found = raw()
    del found["plugins"]
    return found


def renumbered(path: Path) -> None:
    """Brings a store along, step by step."""
    with closing(open_writer(path)) as db:
        while progress(db).name:
            step(db, forms(), urgent=False)


def test_stored_numbers_get_their_one_form(tmp_path: Path) -> None:
    """In every table that has some; ids that mean none are none."""
    path = made(SAMPLE, tmp_path)
    renumbered(path)
    after = tables(path)
    lines = {
        (row["msisdn"], row["short_code"], row["service_id"], row["state"])
        for row in after["subscriptions"]
    }
    # Joined at the provider, left by a plugin that wrote the numbers in another form.
    assert ("+254708422222", OURS, "44", "inactive") in lines
    # The line of service 0 is the one of no service, and the later change.
    assert ("+254708411111", "22915", "", "active") in lines
    assert len(lines) == len(after["subscriptions"]) == 5
    changes = [
        (row["msisdn"], row["short_code"], row["service_id"])
        for row in after["subscription_history"]
    ]
    assert changes[6:] == [
        ("+254708422222", OURS, "44"),
        ("+254708411111", "22915", ""),
        ("+254708422222", OURS, "44"),
    ]
    messages = {row["id"]: row for row in after["messages"]}
    assert {name: messages[8][name] for name in ("msisdn", "sender", "service_id", "link_id")} == {
        "msisdn": "+254733000111",
        "sender": OURS,
        "service_id": None,
        "link_id": None,
    }
    assert {row["link_id"] for row in after["links"]} == {"l-1", "l-2", "l-3", "l-4", "l-5"}
    [deactivation] = [row for row in after["jobs"] if row["kind"] == "deactivate"]
    assert json.loads(deactivation["payload"]) == {
        "msisdn": "+254708422222",
        "short_code": OURS,
        "service_id": "44",
    }
    events = {row["key"]: row for row in after["events"]}
    assert events["message:41"]["subject"] == "+254999999999"
    data = json.loads(events["message:41"]["data"])
    assert (data["from"], data["to"], data["text"]) == ("+254999999999", OURS, "Hello")
    assert not {"service_id", "link_id"} & data.keys()
    assert ("+254999999999",) in look(path, "SELECT subject FROM people")
    assert look(path, "PRAGMA integrity_check") == [("ok",)]


def test_of_opt_outs_the_later_word_counts(tmp_path: Path) -> None:
    """Of a person's words in several spellings: who came back may be messaged, who left not."""
    path = made(SAMPLE, tmp_path)
    before = tables(path)["opt_out_history"]
    renumbered(path)
    after = tables(path)
    assert len(after["opt_out_history"]) == len(before)
    lines = {
        (row["msisdn"], row["short_code"], row["service_id"]): row["reason"]
        for row in after["opt_outs"]
    }
    assert ("+254722000111", OURS, "") not in lines  # out, then in
    assert ("+254722000222", "", "") in lines  # out, twice
    assert ("+254722000333", "", "") in lines  # out, in, out
    assert ("+254733000999", OURS, "") in lines  # by hand, of service 0
    assert [name for name, _, _ in lines if name.startswith("#")]
    assert len(lines) == 7


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_store_in_its_one_form_stays(sample: Path, tmp_path: Path) -> None:
    """Brought along again, nothing changes; what had the form already has not changed at all."""
    path = made(sample, tmp_path)
    open_writer(path).close()
    before = tables(path)
    renumbered(path)
    once = tables(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET text = '[0,null]' WHERE key = 'numbers'")
    renumbered(path)
    assert tables(path) == once
    if sample is not SAMPLE:
        assert {**once, "meta": []} == {**before, "meta": []}


def test_interrupted_at_any_step_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is whole or not there, and its place is part of it."""
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = made(SAMPLE, whole)
    renumbered(expected)
    monkeypatch.setattr("receiver.store.renumbering._ROWS", 1)
    monkeypatch.setattr("receiver.store.renumbering._STEP", 0.0)
    path = made(SAMPLE, tmp_path)
    db = open_writer(path)
    steps = 0
    while progress(db).name:
        db.execute("BEGIN IMMEDIATE")
        step(db, forms(), urgent=False)
        db.execute("ROLLBACK")  # as after kill -9, the WAL is without it
        db.close()
        db = open_writer(path)
        db.execute("BEGIN IMMEDIATE")
        step(db, forms(), urgent=False)
        db.execute("COMMIT")
        steps += 1
    db.close()
    assert steps > 60
    assert tables(path) == tables(expected)


@pytest.mark.parametrize("steps", [0, 30])
def test_a_store_that_moves_meanwhile_goes_on_in_postgresql(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """From its place: each row becomes what it becomes in the file."""
    monkeypatch.setattr("receiver.store.renumbering._ROWS", 1)
    monkeypatch.setattr("receiver.store.renumbering._STEP", 0.0)
    write(tmp_path, raw())
    path = made(SAMPLE, tmp_path)
    with closing(open_writer(path)) as db:
        for _ in range(steps):
            step(db, forms(), urgent=False)
    with databases.nothing() as address:
        url = address.url.reveal()
        told(tmp_path, "migrate-store", "--to", url)
        renumbered(path)
        with opened_by_sql(address) as server:
            assert progress(server).name
            while progress(server).name:
                step(server, forms(), urgent=False)
        told(tmp_path, "migrate-store", "--from", url, "--to", "sqlite:back.db")
    assert moved(tmp_path / "back.db") == moved(path)


async def test_a_start_brings_what_is_urgent_before_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest follows beside it, in steps."""
    monkeypatch.setattr("receiver.store.renumbering._ROWS", 1)
    monkeypatch.setattr("receiver.store.renumbering._STEP", 0.0)
    path = made(SAMPLE, tmp_path)
    write(tmp_path, raw())
    async with open_store(path) as store:
        known = providers.create(parse(plain(), Path("receiver.toml")))
        await renumber.before_serving(store, known)
        assert (await store.run(renumbering.progress)).name == "messages"
        opt_outs = await store.reader.opt_outs.find("+254722000111")
        assert opt_outs == []
    async with opened(tmp_path, raw(), later()) as service:

        async def done() -> bool:
            return not (await service.store.run(renumbering.progress)).name

        await until_async(done, "all of it is brought along")
        assert json.loads(look(path, "SELECT text FROM meta WHERE key = 'numbers'")[0][0]) == [
            len(_STAGES),
            None,
        ]


async def test_work_of_before_goes_on_in_the_one_form(tmp_path: Path) -> None:
    """A late reply comes from the address that the person wrote to, where an opt-out holds."""
    path = made(SAMPLE, tmp_path)
    async with opened(tmp_path, raw(), later()) as service:

        async def replied() -> list[tuple[str, ...]]:
            query = "SELECT msisdn, sender FROM messages WHERE text = 'it works' AND event = ?"
            seq = look(path, "SELECT seq FROM events WHERE key = 'message:42'")[0][0]
            return look(path, query, seq)

        found = await until_async(replied, "the handler has replied")
        assert found == [("+254711000777", OURS)]
        assert service.store.address == path


def test_commands_find_what_was_stored(tmp_path: Path) -> None:
    """By the number in any form, once the store is brought along."""
    path = made(SAMPLE, tmp_path)
    write(tmp_path, raw())
    renumbered(path)
    [event] = table(tmp_path, "events", "--msisdn", "0999999999")
    assert event["data"]["to"] == OURS
    [left] = table(tmp_path, "subscribers", "--msisdn", "0708 422222", "--short-code", OURS)
    assert left["state"] == "inactive"
    assert "may be messaged" in told(tmp_path, "opt-outs", "remove", "0722000222")


def test_going_back_takes_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of before refuses the new store, and opens the backup that it made itself."""
    path = made(SAMPLE, tmp_path)
    backup = tmp_path / "backup.db"
    shutil.copy(path, backup)  # nobody has it open
    before = tables(backup)
    renumbered(path)
    scripts = migrations()
    monkeypatch.setattr(schema, "migrations", lambda: scripts[:4])
    with pytest.raises(StoreUnusable, match="made by a newer sms-receiver"):
        open_writer(path)
    for name in ("receiver.db", "receiver.db-wal", "receiver.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    backup.rename(path)
    open_writer(path).close()
    assert tables(path) == before


def test_a_new_store_has_nothing_to_bring_along(tmp_path: Path) -> None:
    """One step, of which nothing is seen."""
    with closing(open_writer(tmp_path / "receiver.db")) as db:
        assert progress(db).urgent
        assert step(db, forms(), urgent=False).name == ""


def test_what_belongs_to_no_source_is_read_where_regions_agree() -> None:
    """Opt-outs by hand, and lines of a source that is configured no more."""
    found = renumber.forms(
        providers.create(
            parse(
                {
                    "sources": {
                        "kenya": {"provider": "tilil", "tokens": ["t" * 20]},
                        "uganda": {"provider": "tilil", "tokens": ["u" * 20], "region": "UG"},
                    }
                },
                Path("receiver.toml"),
            )
        )
    ).number
    assert found(None, "254712345678") == "+254712345678"
    assert found("gone", "254712345678") == "+254712345678"
    assert found(None, "0712345678") == "0712345678"
    assert found("uganda", "0712345678") == "+256712345678"
    assert found("kenya", "SHOP") == "SHOP"
