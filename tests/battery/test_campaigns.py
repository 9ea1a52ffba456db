"""Nobody gets a campaign twice: whatever the gateway does, and however the process ends."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from receiver.fake import Options, running
from receiver.store import StoredMessage, open_reader
from receiver.store.campaign_reads import CampaignCounts
from tests.battery.load import run
from tests.cli.program import run as command
from tests.cli.program import told
from tests.harness import serve, settings, until, write

#: Of a request for many: no answer after it was taken, refused for now, failed.
FAULTS = {"timeout": 0.1, "429": 0.1, "500": 0.05}
#: Those after which nobody waits for another try, for the quick form.
QUICK = {"timeout": 0.1, "reset": 0.1}
#: Seconds for the last tries to be made.
LONG = 400.0
#: Of so many people one has a number that the gateway refuses, and one says STOP.
_ONE_OF = 50


def configuration(url: str) -> dict[str, Any]:
    """A source whose gateway takes many people in a request."""
    send = {
        "api_key": "key", "url": f"{url}/rayprotech", "poll": False, "timeout": 1.0,
        "bulk_size": 20, "connections": 4,
    }  # fmt: skip
    return {
        **settings(),
        "sources": {"rayprotech": {"provider": "rayprotech", "send": send}},
        "plugins": {},
    }


def everybody(count: int) -> list[str]:
    """So many people; the gateway refuses the numbers of some."""
    return [
        f"+2547{number:03}99901" if number % _ONE_OF == 7 else f"+25471{number * 10:07}"
        for number in range(count)
    ]


async def messages(store: Path) -> dict[str, StoredMessage]:
    """The messages of the campaign by person."""
    async with open_reader(store) as reader:
        return {each.to: each async for each in reader.messages.every(campaign=1)}


def counts(store: Path) -> CampaignCounts:
    """How far the campaign is."""

    async def look() -> CampaignCounts:
        async with open_reader(store) as reader:
            return await reader.campaigns.counts(1)

    found: CampaignCounts = run(look())
    return found


def opt_out_some(folder: Path, store: Path, chance: random.Random, people: int) -> set[str]:
    """Opts out some of those who wait; those of them who still waited when it was on disk."""
    waiting = [to for to, each in run(messages(store)).items() if each.state == "waiting"]
    chosen = chance.sample(waiting, min(people, len(waiting)))
    for person in chosen:
        told(folder, "opt-outs", "add", person)
    after = run(messages(store))
    return {to for to in chosen if after[to].state == "waiting"}


async def kill_while_sending(
    folder: Path, count: int, kills: int, faults: Mapping[str, float], *limits: str
) -> tuple[dict[str, StoredMessage], Counter[str], set[str]]:
    """Sends a campaign, killing the service again and again.

    Returns the messages, how often people were reached, and who said STOP before their turn.
    """
    chance, stops = random.Random(count), max(2, count // _ONE_OF // (kills + 1))
    stopped: set[str] = set()
    options = Options(faults=dict(faults), seed=count, hang=2.0, sent_after=9.0, balance=10 * count)
    async with running(options) as fake:
        raw = configuration(fake.url)
        write(folder, raw)
        (folder / "people.csv").write_text("\n".join(everybody(count)), "utf-8")
        store = folder / "receiver.db"

        def live(number: int) -> None:
            with serve(folder, raw) as service:
                if number == 0:
                    people = ("--to-file", "people.csv", "--text", "news", "--yes")
                    assert command(folder, "send", *people, *limits).stdout == "1\n"
                ended = counts(store).ended
                if command(folder, "campaigns", "pause", "1").returncode == 0:
                    stopped.update(opt_out_some(folder, store, chance, stops))
                    told(folder, "campaigns", "resume", "1")
                if number < kills:
                    until(lambda: counts(store).ended > ended or done(store), "some sent")
                    run(asyncio.sleep(chance.uniform(0, 0.2)))
                    service.kill()
                else:
                    until(lambda: done(store), "all decided", LONG)

        for number in range(kills + 1):
            await asyncio.to_thread(live, number)
        got = Counter("+" + message.to for message in fake.sent)
    return await messages(store), got, stopped


def done(store: Path) -> bool:
    """True if nobody waits any more."""
    found = counts(store)
    return not found.waiting + found.sending


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("count", "kills", "faults", "limits"),
    [
        (200, 1, QUICK, ["--rate", "4000"]),
        pytest.param(10_000, 20, FAULTS, [], marks=pytest.mark.slow),
    ],
)
async def test_everybody_gets_one_message_at_most(
    tmp_path: Path, count: int, kills: int, faults: Mapping[str, float], limits: list[str]
) -> None:
    """Time-outs after a chunk was taken, refusals, faults, numbers that are refused, and kill -9.

    Everybody gets one message, or it stands as unknown or refused with the reason; nobody gets two,
    and nobody gets one who said STOP before their turn.
    """
    found, got, stopped = await kill_while_sending(tmp_path, count, kills, faults, *limits)
    assert len(found) == count
    assert not [person for person, times in got.items() if times > 1]
    assert stopped
    assert not stopped & got.keys()
    for person, message in found.items():
        assert message.state in ("sent", "unknown", "dead")
        assert message.state != "sent" or got[person] == 1
        assert message.state != "dead" or (got[person] == 0 and message.error)
    reasons = {each.error for each in found.values() if each.state == "dead"}
    assert {"the person has opted out", "invalid number"} <= reasons
    states = Counter(message.state for message in found.values())
    assert states["sent"] >= count / 4  # a slow machine has more time-outs
