"""docs/nats.md leads from a fresh nats-server to the first event in a stream."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from receiver import doctor
from receiver.doctor import streams
from receiver.events import utc_now
from tests.harness import inbound, opened, parts, settings, take, until_async
from tests.jetstream import nats_server

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "nats.md").read_text("utf-8")


def block(language: str) -> str:
    """The first fenced block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


async def test_the_page_leads_to_an_event_in_a_stream(tmp_path: Path) -> None:
    """Its server, stream and settings, at ports that are free here; the doctor finds nothing."""
    with nats_server(tmp_path / "nats", config=block("")) as server:

        def here(text: str) -> str:
            own = text.replace("127.0.0.1:4222", f"127.0.0.1:{server.port}")
            return own.replace("127.0.0.1:8222", f"127.0.0.1:{server.monitor_port}")

        command = [sys.executable, "-c", here(block("python"))]
        said = await asyncio.to_thread(subprocess.check_output, command)
        assert b'"did_create":true' in said
        raw = {**settings(), **tomllib.loads(here(block("toml")))}
        (finding,) = await doctor.run(
            "streams", streams.kept, doctor.Installation(parts(tmp_path, raw))
        )
        assert finding.found == "SMS is there and keeps events safely"
        assert finding.found in PAGE
        async with opened(tmp_path, raw, utc_now) as service:
            await take(service, inbound(1, "Habari"))

            async def answers() -> list[str]:
                return [each.answer async for each in service.store.reader.forwards.every()]

            assert await until_async(answers, "an answer") == ["stored in SMS as 1"]
        assert "`stored in SMS as 1`" in PAGE
