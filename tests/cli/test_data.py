"""`receiver purge`, `forget` and `audit`: what goes, what is said about it, what is noted."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.errors import PushError
from receiver.events import utc_now
from receiver.store.engine.sqlite.files import lock
from tests import stored
from tests.cli.program import run, table, told
from tests.harness import (
    PATIENCE,
    PROGRAM,
    Clock,
    Running,
    inbound,
    opened,
    serve,
    settings,
    subscription,
    take,
    until,
    write,
)

PERSON = "+254726770792"
OTHER = "254711000222"
USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(params=["a service runs", "no service runs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A store with an old event and a new one, with a service on it or without."""
    asyncio.run(_fill(tmp_path))
    write(tmp_path, settings())
    if request.param == "no service runs":
        yield tmp_path
        return
    with serve(tmp_path, settings()) as running:
        yield running.folder


async def _fill(folder: Path) -> None:
    for days, number in ((200, 1), (1, 2)):
        async with opened(folder, settings(), Clock(utc_now() - timedelta(days=days))) as service:
            await take(service, inbound(number, "GAME"))
            await take(service, inbound(number + 10, "STOP", mobile=OTHER))
            with pytest.raises(PushError):
                await take(service, inbound("", "GAME"))


def test_the_old_goes_and_the_new_stays(place: Path) -> None:
    """By default everything but keys; the same command again has nothing to do."""
    old = ["purge", "--older-than", "180d"]
    assert told(place, *old, "--dry-run") == "2 requests, 2 events, 1 quarantine would be deleted\n"
    assert told(place, *old) == "2 requests, 2 events, 1 quarantine deleted\n"
    assert told(place, *old) == "nothing is that old\n"
    ids = {event["data"]["external_id"] for event in table(place, "events")}
    assert ids == {"2", "12"}
    assert len(table(place, "quarantine")) == 1


def test_only_what_was_asked_for_goes(place: Path) -> None:
    """By kind, by type, by source; counts as JSON."""
    (counted,) = table(place, "purge", "--older-than", "7d", "--kind", "requests")
    assert counted["counts"] == {"requests": 2}
    assert len(table(place, "events")) == 4
    reports = ["purge", "--older-than", "7d", "--type", "sms.delivery.updated"]
    assert told(place, *reports) == "nothing is that old\n"
    assert told(place, *reports[:3], "--source", "tilil") == "2 events deleted\n"
    assert told(place, *reports[:3], "--kind", "keys") == "2 keys deleted\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--older-than", "6d"], "at least 7d for events, messages"),
        (["--older-than", "soon"], "an age such as 180d, 26w or 12h, got 'soon'"),
        (["--older-than", "0d", "--kind", "requests"], "an age such as"),
        (
            ["--older-than", "9d", "--kind", "messages", "--source", "tilil"],
            "do not go with messages",
        ),
        ([], "--older-than"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    """Nothing is purged, and it is said what was expected."""
    asyncio.run(_fill(tmp_path))
    result = run(tmp_path, "purge", *arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert len(table(tmp_path, "events")) == 4


def test_a_person_is_forgotten_with_a_receipt(place: Path) -> None:
    """In every spelling of the number; what was not reached is said, and the opt-out stays."""
    receipt = told(place, "forget", f"0{OTHER[3:]}")
    assert f"+{OTHER} is forgotten" in receipt
    assert "events                            2" in receipt
    assert "opt-outs kept without the number  1" in receipt
    assert "not reached: backups" in receipt
    assert table(place, "events", "--msisdn", OTHER) == []
    (line,) = table(place, "opt-outs")
    assert line["msisdn"].startswith("#")
    (again,) = table(place, "forget", OTHER)
    assert (again["msisdn"], again["gone"], again["left"]) == (f"+{OTHER}", {}, [])
    assert len(table(place, "events")) == 2


def test_a_number_without_data_is_told(place: Path) -> None:
    """It may be a typing error: nothing looks like a receipt."""
    expected = "+254799000111: nothing was stored about this number\n"
    assert told(place, "forget", "0799000111") == expected


def test_a_subscriber_is_forgotten_only_by_force(service: Running) -> None:
    """Who may still be charged is named, nothing is gone; `--force` lets go all the same."""
    service.post(subscription("activation", "20260528124756", mobile=PERSON))
    refused = run(service.folder, "forget", PERSON)
    assert refused.returncode == 1
    assert f"{PERSON}: subscribed at tilil to 22915 service 44" in refused.stderr
    assert "--force" in refused.stderr
    assert len(table(service.folder, "subscribers")) == 1
    assert run(service.folder, "forget", PERSON, "--force").returncode == 0
    assert table(service.folder, "subscribers", "--history") == []


def test_acts_are_audited(place: Path) -> None:
    """Who did what, the newest first; numbers are masked, texts are not in it."""
    told(place, "opt-outs", "add", PERSON, "--short-code", "22915")
    told(place, "forget", PERSON, SUDO_USER="alice")
    told(place, "purge", "--older-than", "180d", "--kind", "events")
    acts = table(place, "audit")
    assert [(act["who"], act["act"]) for act in acts] == [
        (USER, "purge"),
        (f"{USER} for alice", "forget"),
        (USER, "opt_outs.add"),
    ]
    purge, forgot, added = (act["details"] for act in acts)
    assert added == {"msisdn": "+2547•••0792", "short_code": "22915", "changed": 1}
    assert forgot["msisdn"] == "+2547•••0792"
    assert purge["counts"] == {"events": 1}
    assert PERSON[5:9] not in json.dumps(acts)
    assert "opt_outs.add" in told(place, "audit")
    assert told(place, "audit", "--since", "2099-01-01") == "no entries\n"


def test_a_purge_that_is_cut_short_goes_on(tmp_path: Path) -> None:
    """Kill -9 in the middle of one: the command says so, and the next one takes the rest."""
    asyncio.run(_many(tmp_path, 5000))
    store = tmp_path / "receiver.db"
    first, *_ = stored.events(store)
    with serve(tmp_path, settings()) as running:
        command = [*PROGRAM, "purge", "--older-than", "180d"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as purging:
            until(lambda: not is_there(store, first.seq), "purging")
            running.kill()
            _, said = purging.communicate(timeout=PATIENCE)
        assert purging.returncode == 1
        assert b"Traceback" not in said
    rest = len(stored.keys(store))
    assert 0 < rest < 5000
    assert f"{rest:,} events" in told(tmp_path, "purge", "--older-than", "180d")
    assert stored.damages(store) == []
    assert stored.indexed(store) == 0


def is_there(store: Path, event: int) -> bool:
    """Whether an event is not purged yet."""
    return stored.read(store, lambda reader: reader.event_by_seq(event)) is not None


async def _many(folder: Path, events: int) -> None:
    async with opened(folder, settings(), Clock(utc_now() - timedelta(days=200))) as service:
        await asyncio.gather(*[take(service, inbound(n, "hello")) for n in range(events)])


def test_a_backup_is_audited(place: Path) -> None:
    """In the store that was copied, beside a service and without one; the copy has no line."""
    assert "verified" in told(place, "backup", "copy.db", SUDO_USER="alice")
    [act] = table(place, "audit")
    assert (act["who"], act["act"]) == (f"{USER} for alice", "backup")
    size = (place / "copy.db").stat().st_size
    assert act["details"] == {"file": str(place / "copy.db"), "events": 4, "bytes": size}
    assert stored.acts(place / "copy.db") == []


def test_a_backup_that_cannot_be_noted_is_a_backup(tmp_path: Path) -> None:
    """A command has the store: the copy is made, and the person is told what is missing."""
    asyncio.run(_fill(tmp_path))
    write(tmp_path, settings())
    with lock(tmp_path / "receiver.db"):
        result = run(tmp_path, "backup", "copy.db")
    assert result.returncode == 0
    assert "verified" in result.stdout
    assert "the audit has no line of it: " in result.stderr


def test_a_restore_is_audited(tmp_path: Path) -> None:
    """In the store that it makes, after what the copy knew of before."""
    asyncio.run(_fill(tmp_path))
    write(tmp_path, settings())
    told(tmp_path, "backup", "copy.db")
    told(tmp_path, "backup", "later.db")
    told(tmp_path, "restore", "later.db")
    acts = stored.acts(tmp_path / "receiver.db")
    assert [(act.who, act.act) for act in acts] == [(USER, "backup"), (USER, "restore")]
    assert acts[1].details == {"file": str(tmp_path / "later.db"), "events": 4}
