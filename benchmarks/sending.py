"""How fast messages leave: the outbox against the bare HTTP client, and a limit that is kept.

    python -m benchmarks.sending client URL COUNT
    python -m benchmarks.sending outbox URL COUNT [RATE]

Each is a process of its own, so that it can be pinned to a core; it prints one number: messages a
second, or, with a RATE, messages a minute.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import uvloop

from benchmarks.contestants import free_port, running
from receiver import config
from receiver.actions import Send
from receiver.config import Config
from receiver.events import utc_now
from receiver.jobs.calling import Caller
from receiver.jobs.channel import apis
from receiver.outgoing import OutgoingMessage
from receiver.service import parts as service
from receiver.service import server

_CONNECTIONS = 16
#: Messages among which is the one that ended last.
_LAST = 2 * _CONNECTIONS


@contextmanager
def fake(core: int) -> Iterator[str]:
    """Fake providers that take everything; their URL."""
    port = free_port()
    command = [sys.executable, "-m", "receiver", "fake", "--port", str(port)]
    with running(command, core, port, {}, Path("/dev/null")):
        yield f"http://127.0.0.1:{port}"


def main() -> None:
    """Runs what the arguments say."""
    kind, url, count, *rate = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        settings = _settings(Path(folder), url, int(rate[0]) if rate else None)
        work = _client if kind == "client" else _outbox
        server.tune_interpreter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(runner.run(work(settings, int(count))))


def _settings(folder: Path, url: str, rate: int | None) -> Config:
    limit = {"rate": rate} if rate else {}
    send = {"api_key": "key", "sender": "SHOP", "url": f"{url}/tsconect", **limit}
    raw = {
        "server": {"port": 0, "admin": ""},
        "sources": {
            "tsconect": {
                "provider": "tsconect",
                "tokens": ["token-of-the-benchmark"],
                "send": {**send, "connections": _CONNECTIONS},
            }
        },
    }
    return config.parse(raw, folder / "receiver.toml")


async def _client(settings: Config, count: int) -> float:
    """The provider's requests, made and read, and nothing else."""
    parts = service.prepare(settings)
    api = apis(settings, parts.providers)["tsconect"]
    numbers = iter(range(count))
    async with aclosing(Caller(utc_now, api.send_settings)) as caller:

        async def work() -> None:
            for number in numbers:
                message = OutgoingMessage(to=_person(number), text="Your code is 123456")
                await caller.perform(api.send(message))

        started = time.perf_counter()
        await asyncio.gather(*[work() for _ in range(_CONNECTIONS)])
        return count / (time.perf_counter() - started)


async def _outbox(settings: Config, count: int) -> float:
    """The whole service, with so many messages waiting when it starts."""
    parts = service.prepare(settings)
    async with service.open_service(parts, work=False) as idle:
        handler_actions = [
            Send(source="tsconect", to=_person(number), text="Your code is 123456")
            for number in range(count)
        ]
        await asyncio.gather(*[idle.store.add_message(wish, utc_now()) for wish in handler_actions])
    limit = parts.config.sources["tsconect"].send.rate  # type: ignore[union-attr] # it has one
    async with service.open_service(parts) as busy:
        messages = busy.store.reader.messages
        while any([await messages.find(state=state, limit=1) for state in ("waiting", "sending")]):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.5)
        attempts = await messages.attempts("tsconect", utc_now().replace(year=2000))
        sent = [at for at, _ in attempts]
        if limit is None:
            # As the store has it: who looks more often takes the core from what is measured.
            ends = [each.updated_at for each in await messages.find(state="sent", limit=_LAST)]
            return count / (max(ends) - sent[0]).total_seconds()
        # From the first message to the first of those that had to wait for the last minute.
        return (len(sent) - 1) // limit * limit / ((sent[-1] - sent[0]).total_seconds() / 60)


def _person(number: int) -> str:
    return f"+2547{number * 10:08}"  # the fake refuses some that end otherwise


if __name__ == "__main__":
    main()
