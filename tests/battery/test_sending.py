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
from tests.listening import Behaviour, Listener, Pushed, answer, listening
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
#: What another system does instead of answering, the first time that it is asked about an event.
BROKEN = [
    answer(503),
    answer(200, "Content-Type: text/html", body="<b>Warning</b>"),
    b"",
    *[None] * 3,
]
FAULTS = {"timeout": 0.1, "429": 0.1, "500": 0.05, "duplicate": 0.3, "early": 0.1}
#: Seconds for the last tries to be made.
LONG = 240.0


class Outcome(msgspec.Struct):
    """What is wrong in the end."""

    twice: list[str]
    """People who got more than one reply, in an answer or as a message."""
    silent: list[str]
    """People who got none, though their message counts as sent."""
    missing: list[str]
    """People whose message was acknowledged and has no reply at all."""


def configuration(fake: Fake, port: int, asked: Listener | None) -> dict[str, Any]:
    """Replies of Tilil too late for the answer, replies of Text-Connect which takes none there.

    `asked`: the system that says what Tilil's are, some of them in time.
    """
    raw = with_plugin(SLOW, "keyword_reply")
    if asked is not None:
        shop = {"name": "shop", "url": asked.url, "allow": ["127.0.0.1"], "sources": ["tilil"]}
        raw["plugins"] = {"enabled": ["keyword_reply", "http_reply"]}
        raw["plugins"]["http_reply"] = {"targets": [shop]}
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


async def post(port: int, work: list[tuple[str, str, bytes]], acked: dict[str, bool]) -> None:
    """Posts what is in `work` until it is empty or the service is gone.

    Notes who was answered, and if the reply was in the answer.
    """
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
                acked[person] = b"reply to" in answer.content

        await asyncio.gather(*[one() for _ in range(8)])


def undecided(service: Running) -> list[Any]:
    """Messages of which it is not decided what becomes of them, and handlers that may send more."""
    return stored.undecided(service.store, "handle")


def unreliable(seed: int) -> Behaviour:
    """Another system, which replies to each event in the end, and always the same."""
    chance, seen = random.Random(seed), set[str]()

    def behave(pushed: Pushed) -> bytes | None:
        said = None if pushed.id in seen else chance.choice(BROKEN)
        seen.add(pushed.id)
        if said is not None:
            return said
        reply = f"reply to {pushed.event['data']['external_id']}"
        return answer(200, "Content-Type: text/plain", body=reply)

    return behave


async def kill_while_sending(
    folder: Path, count: int, kills: int, asked: Listener | None = None
) -> Outcome:
    """Pushes messages, kills the service again and again, and counts what people got."""
    chance = random.Random(count)
    work, acked = pushes(count), dict[str, bool]()
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
        raw = configuration(fake, port, asked)

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
        got.update(person for person, told in acked.items() if told)
    store = folder / "receiver.db"
    messages = stored.messages(store)
    states = {message.to.lstrip("+"): message.state for message in messages}
    assert len(states) == len(messages), "two replies to somebody"
    return Outcome(
        twice=[person for person, number in got.items() if number > 1],
        silent=[p for p, state in states.items() if state == "sent" and not got[p]],
        missing=sorted(p for p, told in acked.items() if not told and p not in states),
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


@pytest.mark.anyio
@pytest.mark.slow
async def test_everybody_gets_one_reply_of_another_system_at_most(tmp_path: Path) -> None:
    """It is down, breaks off and says nonsense: in the answer or as a message, never both."""
    async with listening() as asked:
        asked.behaviour = unreliable(1)
        assert await kill_while_sending(tmp_path, 200, 5, asked) == Outcome([], [], [])
        ids = Counter(pushed.id for pushed in asked.pushed)
    assert len(ids) == 100
    assert max(ids.values()) > 1
