"""A stream that does not keep what it has acknowledged is told, with the setting that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.config.convert import Url
from receiver.handlers import Stream
from receiver.jobs.forward import RETRIES
from receiver.net.durability import StreamInfo, doubts_of, judge
from tests.jetstream import CONFIG, SAFE, nats_server
from tests.ports import free_port

pytestmark = pytest.mark.anyio


def stream(**fields: Any) -> Stream:
    """The settings of a stream."""
    return Stream(**{"name": "sms", "servers": ["nats://127.0.0.1"], "stream": "SMS", **fields})


def info(cluster: str = "", **fields: Any) -> StreamInfo:
    """What servers tell of a stream that is safe but for `fields`."""
    raw = {"config": {**SAFE, "num_replicas": 1, **fields}, "cluster": {"name": cluster}}
    return msgspec.convert(raw, StreamInfo)


def told(of: StreamInfo, **fields: Any) -> dict[str, bool]:
    """The settings that are doubtful, and whether events cannot be stored at all."""
    doubts = judge(stream(**fields), of, RETRIES.longest)
    return {doubt.setting: doubt.fails for doubt in doubts}


def test_nothing_is_said_against_a_safe_stream() -> None:
    """A server alone with one replica, and a cluster with three."""
    assert told(info()) == {}
    assert told(info("east", num_replicas=3)) == {}


@pytest.mark.parametrize(
    ("fields", "setting", "fails"),
    [
        ({"storage": "memory"}, "storage", False),
        ({"persist_mode": "async"}, "persist_mode", False),
        ({"retention": "interest"}, "retention", False),
        ({"cluster": "east"}, "num_replicas", False),
        ({"duplicate_window": 120 * 10**9}, "duplicate_window", False),
        ({"no_ack": True}, "no_ack", True),
        ({"sealed": True}, "sealed", True),
    ],
)
def test_each_doubtful_setting_is_named(fields: dict[str, Any], setting: str, fails: bool) -> None:
    """Those of the stream, by the names that NATS gives them."""
    assert told(info(**fields)) == {setting: fails}


@pytest.mark.parametrize(
    ("subjects", "safe"),
    [
        (["sms.>"], True),
        ([">"], True),
        (["sms.message.received.*"], True),
        (["*.message.*.*"], True),
        (["sms.message.received.tilil"], False),
        (["sms.message.received"], False),
        (["sms.*"], False),
        (["sms.message.received.*.>"], False),
        (["other", "sms.message.>"], True),
    ],
)
def test_subjects_must_take_what_is_published(subjects: list[str], safe: bool) -> None:
    """Whatever source it comes from."""
    of = info(subjects=subjects)
    expected = {} if safe else {"subjects": True}
    assert told(of, types=["sms.message.received"]) == expected


def test_a_missing_stream_is_named() -> None:
    """With the servers' own words."""
    missing = msgspec.convert({"error": {"description": "stream not found"}}, StreamInfo)
    (doubt,) = judge(stream(), missing, RETRIES.longest)
    assert doubt.fails
    assert str(doubt).startswith("stream: SMS is not there: stream not found; make the stream SMS")


@pytest.mark.parametrize(
    ("sync", "doubtful"), [("always", []), ("2m", ["sync_interval"])], ids=["always", "default"]
)
async def test_a_server_tells_whether_it_syncs(
    tmp_path: Path, sync: str, doubtful: list[str]
) -> None:
    """By its monitoring address; one that does not answer is told, too."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with nats_server(tmp_path, config=CONFIG.replace("always", sync)) as server:
        monitors = [Url(server.monitor), Url(nowhere)]
        found = await doubts_of(stream(monitors=monitors), info(), RETRIES.longest)
    assert [doubt.setting for doubt in found] == [*doubtful, "monitors"]
    assert nowhere in found[-1].found
