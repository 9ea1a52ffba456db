"""How soon a background handler begins after its commit, and how many replies are in an answer.

    python benchmarks/handlers.py CLIENTS COUNT [BACKLOG]

The whole service without its sockets, with a handler that waits five milliseconds and replies. So
many clients push one message after the other, each of another person. With a BACKLOG that is
smaller than the CLIENTS, more work is under way than fits into memory. Prints JSON: milliseconds
from the commit to the handler's start (median), and the share of replies that were in the answer.
It runs on its own, so that it can measure another version's tree, too (PYTHONPATH).
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from itertools import count
from pathlib import Path

import uvloop

from receiver import config
from receiver.events import utc_now
from receiver.jobs import handle
from receiver.logs.requests import unlogged_entry
from receiver.providers import Push
from receiver.service import parts, server

_TOKEN = "token-of-the-benchmark"
_WITHIN = 2.0
_PLUGIN = """
import asyncio
from time import perf_counter
from receiver.handlers import on_message

STARTS = {}

@on_message()
async def reply(event, context):
    STARTS[event.data.external_id] = perf_counter()
    await asyncio.sleep(0.005)
    return "Asante"
"""


def main() -> None:
    """Runs what the arguments say."""
    clients, pushes, *backlog = map(int, sys.argv[1:])
    if backlog:
        handle.BACKLOG = backlog[0]
    server.tune_interpreter()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        (Path(folder) / "plugins").mkdir()
        (Path(folder) / "plugins" / "bench.py").write_text(_PLUGIN)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(_measure(Path(folder), clients, pushes))))


async def _measure(folder: Path, clients: int, pushes: int) -> dict[str, float]:
    raw = {
        "server": {"port": 0, "admin": ""},
        "sources": {
            "tilil": {"provider": "tilil", "tokens": [_TOKEN], "reply_within": _WITHIN},
        },
        "plugins": {"path": ["plugins"], "enabled": ["bench"]},
    }
    made = parts.prepare(config.parse(raw, folder / "receiver.toml"))
    (plugin,) = made.plugins
    starts = plugin.handlers[0].function.__globals__["STARTS"]
    waits: list[float] = []
    replies = 0
    numbers = iter(range(pushes))
    people = count(254700000000)
    async with parts.open_service(made) as service:
        endpoint = service.intake.endpoints["tilil"]

        async def client() -> None:
            nonlocal replies
            for number in numbers:
                entry = unlogged_entry()
                push = Push(
                    method="POST",
                    body=_body(number, next(people)),
                    received_at=utc_now(),
                    client="192.0.2.1",
                )
                answer = await service.intake.receive(endpoint, push, entry)
                replies += b"Asante" in answer.body
                if str(number) in starts:
                    waits.append(starts[str(number)] - entry.committed)

        await asyncio.gather(*[client() for _ in range(clients)])
    return {"start_ms": statistics.median(waits) * 1000, "in_answer": replies / pushes}


def _body(number: int, person: int) -> bytes:
    payload = {
        "timestamp": "20261120120000",
        "mobile": str(person),
        "message": f"hello {number}",
        "shortcode": "22915",
        "inbox_id": str(number),
        "service_id": "32",
        "network_name": "Safaricom",
        "link_id": f"link-{number}",
        "api_token": _TOKEN,
    }
    return json.dumps(payload).encode()


if __name__ == "__main__":
    main()
