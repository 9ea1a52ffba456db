"""Nobody gets a reply twice: whatever the provider does, and however the process ends."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import msgspec
import pytest

from receiver.fake import Fake, Options, running
from tests import stored
from tests.battery.load import run
from tests.harness import PATIENCE, TOKEN, Running, inbound, serve, until, with_plugin
from tests.ports import free_port

#: A handler that is slower than the answer may wait, so that its reply leaves through the API.
SLOW = """
import asyncio
from receiver.handlers import on_message

@on_message(source="tilil")
async def slow(event, context):
    await asyncio.sleep(0.3)
    return "reply to " + event.data.external_id
"""
FAULTS = {"timeout": 0.1, "429": 0.1, "500": 0.05, "duplicate": 0.3, "early": 0.1}
#: Seconds for the last tries to be made.
LONG = 240.0


class Outcome(msgspec.Struct):
    """What is wrong in the end."""

    twice: list[str]
    """People who got more than one message."""
    silent: list[str]
    """People who got none, though their message counts as sent."""
    missing: list[str]
    """People whose message was acknowledged and has no reply at all."""


def configuration(fake: Fake, port: int) -> dict[str, Any]:
    """Replies of Tilil too late for the answer, replies of Text-Connect which takes none there."""
    raw = with_plugin(SLOW, "keyword_reply")
    raw["plugins"]["keyword_reply"] = {"rules": [{"keyword": "HELLO", "reply": "{{ text }}"}]}
    send = {"api_key": "key", "timeout": 1.0, "connections": 16}
    for name in ("tilil", "text-connect"):
        raw["sources"][name]["send"] = {**send, "url": f"{fake.url}/{name}"}
    raw["sources"]["tilil"]["reply_within"] = 0.05
    raw["server"]["port"] = port
    return raw


def pushes(count: int) -> list[tuple[str, str, bytes]]:
    """Source, person and body of so many messages, each of somebody else."""
    made = []
    for number in range(1000, 1000 + count):  # lower ones the fake refuses
        if number % 2:
            person = f"2547{number:08}"
            made.append(("tilil", person, inbound(number, "slow", mobile=person)))
        else:
            person = f"44778{number:07}"
            fields = {"source": person, "dest": "447786200000", "msg": f"hello {number}"}
            body = urlencode({**fields, "id": str(number), "auth": TOKEN}).encode()
            made.append(("text-connect", person, body))
    return made


async def post(port: int, work: list[tuple[str, str, bytes]], acked: set[str]) -> None:
    """Posts what is in `work` until it is empty or the service is gone; notes who was answered."""
    base = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(
        base_url=base, trust_env=False, timeout=PATIENCE, verify=False
    ) as client:

        async def one() -> None:
            while work:
                source, person, body = work.pop()
                try:
                    answer = await client.post(f"/hooks/{source}", content=body)
                except httpx2.TransportError:
                    work.append((source, person, body))  # it comes again, as a provider's would
                    return
                assert answer.status_code == 200, answer.text
                acked.add(person)

        await asyncio.gather(*[one() for _ in range(8)])


def undecided(service: Running) -> list[Any]:
    """Messages of which it is not decided what becomes of them, and handlers that may send more."""
    return stored.undecided(service.store, "handle")


async def kill_while_sending(folder: Path, count: int, kills: int) -> Outcome:
    """Pushes messages, kills the service again and again, and counts what people got."""
    chance = random.Random(count)
    work, acked = pushes(count), set[str]()
    share = count // (kills + 1) + 1
    rest = [work[n : n + share] for n in range(0, count, share)]
    port = free_port()
    options = Options(
        faults=FAULTS,
        seed=count,
        hang=2.0,
        sent_after=0.05,
        delivered_after=0.05,
        jitter=0.05,
        callbacks={"tilil": f"http://127.0.0.1:{port}/hooks/tilil/{TOKEN}"},
    )
    async with running(options) as fake:
        raw = configuration(fake, port)

        def live(part: list[tuple[str, str, bytes]], *, last: bool) -> None:
            with ExitStack() as stack:
                service = stack.enter_context(serve(folder, raw))
                run(post(service.port, part, acked))
                if last:
                    until(lambda: not undecided(service), "all decided", LONG)
                else:
                    until(lambda: undecided(service), "something to send")
                    run(asyncio.sleep(chance.uniform(0, 0.6)))
                    service.kill()

        for number, part in enumerate(rest):
            await asyncio.to_thread(live, part, last=number == len(rest) - 1)
        got = Counter(message.to.lstrip("+") for message in fake.sent)
    store = folder / "receiver.db"
    messages = stored.messages(store)
    states = {message.to.lstrip("+"): message.state for message in messages}
    assert len(states) == len(messages), "two replies to somebody"
    return Outcome(
        twice=[person for person, number in got.items() if number > 1],
        silent=[p for p, state in states.items() if state == "sent" and not got[p]],
        missing=sorted(acked - states.keys()),
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("count", "kills"), [(60, 1), pytest.param(1000, 20, marks=pytest.mark.slow)]
)
async def test_everybody_gets_one_reply_at_most(tmp_path: Path, count: int, kills: int) -> None:
    """Time-outs after the message was taken, refusals, faults, repeated reports and kill -9.

    Everybody gets one reply, or the message stands as unknown or dead; nobody gets two.
    """
    assert await kill_while_sending(tmp_path, count, kills) == Outcome([], [], [])
    states = Counter(message.state for message in stored.messages(tmp_path / "receiver.db"))
    assert states.keys() <= {"sent", "unknown", "dead"}
    assert states["sent"] >= count / 4  # a slow machine has more time-outs, whose end is unknown
