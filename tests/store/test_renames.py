"""A source that was renamed: what is stored of it goes over to its new name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from receiver.config import StoreAddress
from receiver.doctor import Installation
from receiver.doctor.sources import pushes
from receiver.fake import Options, running
from receiver.service import parts as services
from receiver.service.parts import warn
from receiver.store import renames
from receiver.store.tx import Tx
from tests.harness import Clock, inbound, opened, parts, subscription, take
from tests.jobs.test_deactivate import ANN, ENDED, until_ended
from tests.store.sql import look
from tests.test_stop import activation, message, raw, said

pytestmark = pytest.mark.anyio

TABLES = (
    *("events", "subscriptions", "subscription_history", "jobs", "messages", "message_ids"),
    *("reports", "links", "opt_outs", "opt_out_history", "quarantine"),
)


def at(address: StoreAddress, configured: dict[str, Any]) -> dict[str, Any]:
    """A configuration with this store."""
    url = f"sqlite:{address}" if isinstance(address, Path) else address.url.reveal()
    return {**configured, "store": {"url": url}}


def renamed(address: StoreAddress, *former: str) -> dict[str, Any]:
    """The configuration in which `tilil` is called `kenya`; as what it was known before."""
    configured = at(address, raw())
    sources = configured["sources"]
    sources["kenya"] = {**sources.pop("tilil"), "former_names": list(former)}
    return configured


async def test_a_renamed_source_has_all_that_it_had(tmp_path: Path, address: StoreAddress) -> None:
    """STOP is told to Tilil, no line stays active, and a repeat has the answer of the first."""
    configured = at(address, raw())
    configured["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "Hi"}]}
    async with opened(tmp_path, configured) as service:
        await take(service, activation("20261120115000"))
        first = await take(service, message(1, "game"))
    async with running(Options()) as fake:
        again = renamed(address, "tilil")
        account = {"api_key": "key", "sender": "SHOP", "url": fake.urls["tilil"]}
        again["sources"]["kenya"]["send"] = account
        async with opened(tmp_path, again) as service:
            assert await take(service, message(1, "game"), source="kenya") == first
            await take(service, message(2, "STOP"), source="kenya")
            await until_ended(service)
            assert fake.managed == ENDED
            lines = look(address, "SELECT source, state FROM subscriptions")
            assert lines == [("kenya", "inactive")]
            events = look(address, "SELECT DISTINCT source FROM events")
            assert events == [("kenya",)]


async def test_one_id_under_both_names_is_two_events(tmp_path: Path, address: StoreAddress) -> None:
    """Each has its repeats, with the answer that was made for it."""
    configured = at(address, raw())
    configured["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "{{ text }}"}]}
    configured["sources"]["kenya"] = configured["sources"]["tilil"]
    async with opened(tmp_path, configured) as service:
        old = await take(service, inbound(5, "game old", mobile="254708400001"))
        new = await take(service, inbound(5, "game new", mobile="254708400002"), source="kenya")
    again = renamed(address, "tilil")
    again["plugins"]["keyword_reply"] = configured["plugins"]["keyword_reply"]
    async with opened(tmp_path, again) as service:
        for text, mobile, answer in (("old", "254708400001", old), ("new", "254708400002", new)):
            push = inbound(5, f"game {text}", mobile=mobile)
            assert await take(service, push, source="kenya") == answer
        assert look(address, "SELECT count(*) FROM events") == [(2,)]


def _fill(tx: Tx) -> None:
    """What falls together, and what takes sending to come by."""
    for statement in (
        (
            "INSERT INTO message_ids VALUES ('tilil', 'a', 1), ('tilil', 'b', 2),"
            " ('tilil', 'c', 3), ('kenya', 'a', 4)"
        ),
        "INSERT INTO links VALUES ('tilil', 'l', 1, 2, NULL)",
        (
            "INSERT INTO subscriptions VALUES ('kenya', '22915', '44', '+254708400001',"
            " 'active', 4000000000000000, NULL, NULL, NULL)"
        ),
        (
            "INSERT INTO events (seq, source, key, provider, type, subject, time, received_at,"
            " data, answer, reply) SELECT 1, 'kenya', key, provider, type, subject, time,"
            " received_at, data, answer, reply FROM events LIMIT 1"
        ),
    ):
        tx.execute(statement)


async def test_every_table_is_carried_over(
    tmp_path: Path, address: StoreAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in many steps, and what falls together is one: the later change of a line stays."""
    monkeypatch.setattr(renames, "_ROWS", 2)
    async with opened(tmp_path, at(address, raw())) as service:
        for number in range(5):
            mobile = f"25470840000{number}"
            await take(service, subscription("activation", "20261120110000", mobile=mobile))
            await take(service, inbound(number, "STOP", mobile=mobile))
        await service.store.writer.run(_fill)
        assert await service.store.reader.sources() == ["kenya", "tilil"]
        assert await service.store.rename_source("tilil", "kenya")
        assert await service.store.reader.sources() == ["kenya"]
        assert not await service.store.rename_source("tilil", "kenya")
    for table in TABLES:
        assert not look(address, f"SELECT * FROM {table} WHERE source = 'tilil'"), table
    assert look(address, "SELECT key, message FROM message_ids ORDER BY key") == [
        ("a", 4),
        ("b", 2),
        ("c", 3),
    ]
    assert look(address, "SELECT msisdn FROM subscriptions WHERE state = 'active'") == [
        ("+254708400001",)
    ]
    assert look(address, "SELECT count(*) FROM events") == [(11,)]


async def test_a_source_that_is_not_configured_is_named(
    tmp_path: Path, address: StoreAddress
) -> None:
    """At the start, after a reload, and by the doctor; not once it is somebody's former name."""
    async with opened(tmp_path, at(address, raw())) as service:
        await take(service, message(1, "hello"))
    for former, expected in ((), ["sources.tilil"]), (("tilil",), []):
        made = parts(tmp_path, renamed(address, *former))
        async with services.open_service(made, Clock()) as service:
            with structlog.testing.capture_logs() as logs:
                await warn(made, service.store)
            keys = [line["key"] for line in logs]
            assert [key for key in keys if key == "sources.tilil"] == expected
            found = await pushes(Installation(made, clock=Clock()))
            named = [each.check for each in found if each.check == "source tilil"]
            assert bool(named) is bool(expected)


async def test_the_same_line_under_both_names(tmp_path: Path, address: StoreAddress) -> None:
    """The person who left under the new name stays out."""
    async with opened(tmp_path, at(address, raw())) as service:
        await take(service, activation("20261120110000"))
    clock = Clock()
    clock.move(hours=1)
    async with opened(tmp_path, renamed(address), clock=clock) as service:
        left = subscription("deactivation", "20261120113000", mobile=ANN)
        assert said(await take(service, left, source="kenya")) == ""
    async with opened(tmp_path, renamed(address, "tilil"), clock=clock) as service:
        lines = look(address, "SELECT source, state FROM subscriptions")
        assert lines == [("kenya", "inactive")]
