"""The admin address: metrics, and nothing of people."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from receiver.metrics import ServiceCollector
from tests.harness import Running, Wire, hook, inbound, opened, request, serve, settings, take


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrape(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus reads from the admin address: name and labels, value."""
    with Wire(port) as wire:
        wire.send(request("GET", "/metrics"))
        answer = wire.answer()
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    """Pushes by source and outcome, events by type, commits; on the admin address alone."""
    admin = free_port()
    raw = settings(server={"admin": f"127.0.0.1:{admin}"})
    with serve(tmp_path, raw) as service:
        send_some(service)
        found = scrape(admin)
        assert service.get("/metrics").status == 404
        with Wire(admin) as wire:
            wire.send(request("POST", "/hooks/tilil", inbound(9)))
            assert wire.answer().status == 404

    def pushes(source: str, outcome: str) -> float | None:
        labels = frozenset({("source", source), ("outcome", outcome)})
        return found.get(("receiver_pushes_total", labels))

    assert pushes("tilil", "stored") == 3
    assert pushes("tilil", "repeat") == 1
    assert pushes("tilil", "credential_wrong") == 2
    assert pushes("tilil", "malformed") == 1
    assert pushes("tilil", "method_refused") == 1
    assert pushes("", "unknown_source") == 1
    messages = frozenset({("type", "sms.message.received")})
    assert found["receiver_events_total", messages] == 3
    assert found["receiver_commit_seconds_count", frozenset()] >= 5
    assert found["receiver_commit_rows_sum", frozenset()] >= 5
    assert found["receiver_store_readable", frozenset()] == 1
    assert found["receiver_queue_depth", frozenset()] == 0
    assert found["receiver_handlers_held", frozenset()] == 0


def send_some(service: Running) -> None:
    """Three events, a repeat, and refusals of several kinds."""
    for id_ in (1, 2, 3, 3):
        assert service.post(inbound(id_)).status == 200
    for _ in range(2):
        assert service.post(inbound(4, api_token="wrong")).status == 401
    assert service.post(inbound(""), hook("tilil")).status == 400
    assert service.get("/hooks/tilil").status == 405
    assert service.post(inbound(5), "/hooks/unknown").status == 404


@pytest.mark.anyio
async def test_metrics_name_nobody(tmp_path: Path) -> None:
    """No number, text or made-up name of a stranger becomes a label."""
    async with opened(tmp_path) as service:
        await take(service, inbound("an-id", "the-text", mobile="254733123456"))
        families = list(ServiceCollector(service).collect())
    text = repr([sample for family in families for sample in family.samples])
    assert "tilil" in text
    for private in ("an-id", "the-text", "254733123456"):
        assert private not in text
    assert all(family.documentation.endswith(".") for family in families)
