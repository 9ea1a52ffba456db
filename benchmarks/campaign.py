"""How fast a campaign leaves by requests for many, and what it does to replies meanwhile.

    python -m benchmarks.campaign URL PEOPLE

It prints JSON. The gateway at URL is a fake one on another core.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from receiver import config
from receiver.actions import Send
from receiver.config import Config
from receiver.events import utc_now
from receiver.outgoing import Schedule
from receiver.service import campaigns, server
from receiver.service import parts as service
from receiver.service.commands import AddPeople, ChangeCampaign, DraftCampaign
from receiver.service.parts import Service
from receiver.store.campaigns import Person

#: People that are added at once, as `receiver send` does it.
_PIECE = 500
#: Seconds between replies to people who write in meanwhile.
_PAUSE = 0.05


class Result(msgspec.Struct, kw_only=True):
    """What was measured."""

    people_a_second: float
    cpu_us: float
    """Of the service, a person: the better figure on a machine that does something else, too."""
    megabytes_before: float
    megabytes_most: float
    replies: int
    slowest_reply: float
    """Seconds from its commit to its request."""
    median_reply: float


def main() -> None:
    """Sends a campaign and prints what was measured."""
    url, people = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        settings = _settings(Path(folder), url)
        server.tune_interpreter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_measure(settings, int(people)))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


def _settings(folder: Path, url: str) -> Config:
    send = {"api_key": "key", "sender": "SHOP", "url": f"{url}/rayprotech", "poll": False}
    raw = {
        "server": {"port": 0, "admin": ""},
        "sources": {"rayprotech": {"provider": "rayprotech", "send": send}},
    }
    return config.parse(raw, folder / "receiver.toml")


def resident() -> float:
    """Megabytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


async def _measure(settings: Config, people: int) -> Result:
    async with service.open_service(service.prepare(settings)) as busy:
        id_ = await _draft(busy, people)
        before = most = resident()
        replies: list[int] = []
        started, cpu = time.perf_counter(), time.process_time()
        await campaigns.carry_out(busy, ChangeCampaign(campaign=id_, act="start"))
        while (await _state(busy, id_)) != "done":
            wish = Send(source="rayprotech", to=f"+2547{90000000 + len(replies)}", text="reply")
            replies.append(await busy.store.add_message(wish, utc_now()))
            most = max(most, resident())
            await asyncio.sleep(_PAUSE)
        passed, cpu = time.perf_counter() - started, time.process_time() - cpu
        waited = sorted([await _waited(busy, message) for message in replies])
    return Result(
        people_a_second=people / passed,
        cpu_us=cpu / people * 1e6,
        megabytes_before=before,
        megabytes_most=most,
        replies=len(replies),
        slowest_reply=waited[-1],
        median_reply=waited[len(waited) // 2],
    )


async def _draft(busy: Service, people: int) -> int:
    plan = DraftCampaign(source="rayprotech", schedule=Schedule(start_at=utc_now()))
    id_ = (await campaigns.carry_out(busy, plan)).campaign
    assert id_ is not None
    for first in range(0, people, _PIECE):
        numbers = range(first, min(people, first + _PIECE))
        some = [Person(f"+2547{number * 10:08}", "The shop opens at 9") for number in numbers]
        await campaigns.carry_out(busy, AddPeople(campaign=id_, people=some))
    return id_


async def _state(busy: Service, id_: int) -> str:
    found = await busy.store.reader.campaigns.find(id_)
    assert found is not None
    return found.state


async def _waited(busy: Service, message: int) -> float:
    while True:
        [found] = await busy.store.reader.messages.find(id_=message)
        if found.sent_at is not None:
            return (found.sent_at - found.created_at).total_seconds()
        await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    main()
