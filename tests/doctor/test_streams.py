"""The doctor looks at the streams of NATS that events are forwarded to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver import doctor
from receiver.doctor import streams
from tests.harness import parts
from tests.jetstream import Server, client_of, forwarding_to, make_stream, nats_server

pytestmark = pytest.mark.anyio


async def examined(server: Server, folder: Path, **fields: Any) -> list[tuple[str, str]]:
    """What `receiver doctor` says of the stream."""
    made = parts(folder, forwarding_to(server, monitors=[server.monitor], **fields))
    found = await doctor.run("streams", streams.kept, doctor.Installation(made))
    assert {each.check for each in found} == {"stream events"}
    return [(str(each.level), each.found) for each in found]


async def test_the_doctor_looks_at_streams(tmp_path: Path) -> None:
    """One that is safe, one that is made as a beginner makes it, and one that is not there."""
    with nats_server(tmp_path / "nats") as server:
        await make_stream(server)
        assert await examined(server, tmp_path) == [
            ("green", "SMS is there and keeps events safely")
        ]
        async with client_of(server) as client:
            await client.jetstream().add_stream(name="PLAIN", subjects=["plain.>"])
        found = await examined(server, tmp_path, stream="PLAIN", subject="plain.{source}")
        assert [(level, words.partition(":")[0]) for level, words in found] == [
            ("yellow", "duplicate_window")
        ]
        ((level, words),) = await examined(server, tmp_path, stream="OTHER")
        assert (level, words) == ("red", "stream: OTHER is not there: stream not found")


async def test_the_doctor_tells_of_servers_that_are_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what became of the last try to connect."""
    monkeypatch.setattr(streams, "_PATIENCE", 0.5)
    with nats_server(tmp_path / "nats") as server:
        server.kill()
        ((level, words),) = await examined(server, tmp_path)
    assert level == "red"
    assert words.startswith("SMS: no connection: ")
