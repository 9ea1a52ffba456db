"""What providers push and nobody understands is found from what came."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from receiver.doctor import Finding, Installation, sources
from receiver.errors import PushError
from receiver.store import not_understood, quarantine
from tests.harness import NOW, TOKEN, delivery, inbound, opened, parts, settings, take

pytestmark = pytest.mark.anyio


def configuration() -> dict[str, Any]:
    """Tilil and another source, of which nothing comes."""
    raw = settings()
    raw["sources"] = {name: raw["sources"][name] for name in ("tilil", "tsconect")}
    return raw


async def pushed(folder: Path, *bodies: bytes) -> None:
    """Has a service take pushes of Tilil, one after another."""
    async with opened(folder, configuration()) as service:
        for body in bodies:
            with suppress(PushError):
                await take(service, body, token=TOKEN)


async def found(folder: Path) -> list[Finding]:
    """What the doctor says about the words."""
    return await sources.statuses(Installation(parts(folder, configuration())))


def unknown(n: int, name: str | None = None, code: str = "99") -> bytes:
    """A report of a status that Tilil's documentation does not have."""
    return delivery(f"m-{n}", 0, dlrStatus=code, dlrDesc=name)


async def test_words_are_counted(tmp_path: Path) -> None:
    """The most frequent first, with an event in which the newest of these came."""
    bodies = [unknown(n, "Parked", "") for n in range(3)]
    await pushed(tmp_path, inbound(1), *bodies, unknown(7), delivery("m-8", 1))
    [finding] = await found(tmp_path)
    assert (finding.level, finding.check) == ("yellow", "source tilil")
    assert finding.found == (
        "4 of the last 6 events have a status that is not understood:"
        " 3 x status 'Parked', 1 x code '99'"
    )
    async with opened(tmp_path, configuration()) as service:
        events = [stored.event async for stored in service.store.reader.events()]
    [newest] = [event.id for event in events if getattr(event.data, "message_id", "") == "m-2"]
    assert f"`receiver events {newest} --raw`" in finding.do


async def test_what_is_understood_is_no_worry(tmp_path: Path) -> None:
    """Also a gateway that says itself that it does not know; without events nothing is said."""
    await pushed(tmp_path)
    assert await found(tmp_path) == []
    await pushed(tmp_path, inbound(1), delivery("m-1", 1), unknown(2, "UNKNOWN", ""))
    [finding] = await found(tmp_path)
    assert finding.level == "green"
    assert finding.found == "every status in the last 3 events is understood"


async def test_a_description_may_say_that_a_word_is_unknown(tmp_path: Path) -> None:
    """Its own words count, and a word that is added to it is understood from then on."""
    report: dict[str, Any] = {"message_id": "id", "status": "status"}
    report["statuses"] = {"delivered": ["ok"]}
    example = {
        "name": "report",
        "request": {"json": {"id": "1", "status": "ok"}},
        "event": {"type": "delivery", "status": "delivered"},
    }
    ours = {
        "format": "json",
        "title": "Ours",
        "documentation": ["https://example.com"],
        "region": "KE",
    }
    raw: dict[str, Any] = {
        "sources": {"ours": {"provider": "ours", "tokens": [TOKEN]}},
        "providers": {"ours": {**ours, "report": report, "example": [example]}},
    }
    async with opened(tmp_path, raw) as service:
        for n, word in enumerate(("ok", "7", "lost in space")):
            body = f'{{"id": "{n}", "status": "{word}"}}'.encode()
            await take(service, body, source="ours", token=TOKEN)
    [finding] = await sources.statuses(Installation(parts(tmp_path, raw)))
    assert finding.found.endswith(": 1 x status 'lost in space', 1 x status '7'")
    report["statuses"] = {"delivered": ["ok"], "unknown": ["5-9"], "failed": ["lost in space"]}
    [finding] = await sources.statuses(Installation(parts(tmp_path, raw)))
    assert finding.level == "green"


async def test_words_of_strangers_are_bounded_and_escaped(tmp_path: Path) -> None:
    """A few of them, none long, none that moves a cursor."""
    names = [*(f"Word{n}" for n in range(7)), "\x1b[2J\u202e" + "x" * 500]
    await pushed(tmp_path, *[unknown(n, name, "") for n, name in enumerate(names)])
    [finding] = await found(tmp_path)
    assert "status '\\x1b[2J\\u202ex" in finding.found
    assert finding.found.isprintable()
    assert len(finding.found) < 400
    assert finding.found.endswith(", and 3 others")


async def test_newer_events_push_older_ones_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that has been mended is forgotten with the next events of the source."""
    monkeypatch.setattr(not_understood, "MOST_EVENTS", 3)
    await pushed(tmp_path, unknown(1), *[inbound(n) for n in range(3)])
    [finding] = await found(tmp_path)
    assert finding.found == "every status in the last 3 events is understood"


async def test_the_quarantine_tells_its_reasons(tmp_path: Path) -> None:
    """Of requests with the right credential, each with its number; the clock has its own line."""
    await pushed(tmp_path, delivery("", 1), delivery("", 2), b'{"dlrStatus"')
    async with opened(tmp_path, configuration()) as service:
        for authenticated, outcome in ((True, "clock"), (False, "credential_wrong")):
            await service.store.run(
                quarantine.add,
                source="tilil",
                authenticated=authenticated,
                outcome=outcome,
                reason="no",
                received_at=NOW,
                client="",
                request=b"",
                max_rows=9,
                max_bytes=9999,
            )
    installation = Installation(parts(tmp_path, configuration()))
    said = [each.found for each in await sources.pushes(installation)]
    [quarantined] = [words for words in said if ": with the right credential" in words]
    assert "with the right credential: 2 x '" in quarantined
    assert ", 1 x '" in quarantined
    assert "'no'" not in quarantined
