"""The admin address: metrics, and nothing of people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from receiver.actions import Send
from receiver.errors import ConfigError, StoreUnavailable
from receiver.events import Status
from receiver.logs.histogram import Histogram
from receiver.outgoing import Sent
from receiver.service import metrics, store_metrics
from receiver.service.metrics import ServiceCollector
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store import Attempt, from_micros, jobs, messages, metric_reads, to_micros
from receiver.store.jobs import by_operator
from receiver.store.tx import Tx
from tests.harness import (
    TOKEN,
    Clock,
    Running,
    Wire,
    hook,
    inbound,
    opened,
    request,
    serve,
    settings,
    take,
    until_async,
    with_plugin,
    write,
)
from tests.ports import free_port


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


# What only the store knows


LATER = """
from receiver.handlers import on_message

@on_message()
async def good(event, context):
    return None

@on_message()
async def bad(event, context):
    raise ValueError("the-text")

@on_message(inline=True)
def worse(event, context):
    raise ValueError("the-text")
"""


def value(collector: ServiceCollector, name: str, **labels: str) -> float | None:
    """What a series says now; None without it."""
    for family in collector.collect():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


@pytest.mark.anyio
async def test_handlers_are_timed_and_their_failures_counted(tmp_path: Path) -> None:
    """Each run of a handler that is not inline is timed; failures are those of all."""
    async with opened(tmp_path, with_plugin(LATER)) as service:
        collector = ServiceCollector(service)
        failures = "receiver_handler_failures_total"
        for name in ("good", "bad", "worse"):
            assert value(collector, failures, handler=f"mine.{name}") == 0
        await take(service, inbound(1))
        await until_async(nothing_held(service), "done")
        assert value(collector, "receiver_handler_seconds_count", handler="mine.good") == 1
        assert value(collector, "receiver_handler_seconds_count", handler="mine.bad") == 1
        assert value(collector, failures, handler="mine.good") == 0
        assert value(collector, failures, handler="mine.bad") == 1
        assert value(collector, failures, handler="mine.worse") == 1
        await collector.refresh()
        assert value(collector, "receiver_jobs_due", kind="handle") == 2
        assert value(collector, "receiver_dead_letters", kind="handle") == 0


def nothing_held(service: Service) -> Callable[[], Awaitable[bool]]:
    """Whether no handler is at work."""

    async def fact() -> bool:
        return service.workers.held == 0

    return fact


@pytest.mark.anyio
async def test_last_pushes_survive_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source's last push is that of its newest event, however far down, until the next one."""
    monkeypatch.setattr(store_metrics, "_STRETCHES", 1)
    monkeypatch.setattr(metrics, "TTL", 0.0)
    one_by_one = metric_reads._NEWEST.replace(f"LIMIT {metric_reads._STRETCH}", "LIMIT 1")
    monkeypatch.setattr(metric_reads, "_NEWEST", one_by_one)
    busy = {"provider": "tilil", "tokens": [TOKEN]}
    raw, clock = settings(sources={"busy": busy}), Clock()
    last = "receiver_last_push_timestamp_seconds"
    async with opened(tmp_path, raw, clock) as service:
        await take(service, inbound(0))
        silent_since = clock.now.timestamp()
        for n in (1, 2):
            clock.move(hours=1)
            await take(service, inbound(n), source="busy")
        assert value(ServiceCollector(service), last, source="tilil") == silent_since
    async with opened(tmp_path, raw, clock) as service:
        collector = ServiceCollector(service)
        for known in ({"busy"}, {"busy"}, {"busy", "tilil"}):
            await collector.refresh()
            assert {name for name in raw["sources"] if value(collector, last, source=name)} == known
        assert value(collector, last, source="tilil") == silent_since
        assert value(collector, last, source="busy") == clock.now.timestamp()
        clock.move(hours=1)
        await collector.refresh()  # finds that there is nothing more
        monkeypatch.setattr(metric_reads, "_NEWEST", "nothing is asked any more")
        await collector.refresh()
        assert value(collector, "receiver_store_readable") == 1
        await take(service, inbound(0))  # a repeat is a sign of life
        assert value(collector, last, source="tilil") == clock.now.timestamp()


@pytest.mark.anyio
async def test_what_is_sent_is_told_from_the_store(tmp_path: Path) -> None:
    """Outbox, status, missing reports, credit: of each source that sends."""
    send = {"api_key": "key", "sender": "22915", "url": "http://127.0.0.1:9/"}
    raw = settings()
    raw["sources"]["tilil"]["send"] = send
    clock = Clock()
    async with opened(tmp_path, raw, clock) as service:
        day = 24 * 3600
        for status, ago, balance in (
            ("delivered", 60, "1,234.50"),
            ("failed", 50, None),
            ("delivered", day + 60, "9"),
            ("sent", day + 120, None),
            ("sent", day + 180, None),
            ("unknown", day + 240, None),
            ("sent", 3 * day, None),
        ):
            at = to_micros(clock.now - timedelta(seconds=ago))
            sent = Sent(message_id=str(ago), status=Status(status), balance=balance)
            await service.store.run(add_message, at, sent)
        due, asked = (to_micros(clock.now + timedelta(seconds=by)) for by in (900, -60))
        await service.store.run(add_job, due=due, asked=asked)
        collector = ServiceCollector(service)
        await collector.refresh()

    def of_tilil(name: str, **labels: str) -> float | None:
        return value(collector, f"receiver_{name}", source="tilil", **labels)

    assert of_tilil("outbox_depth") == 1
    assert of_tilil("outbox_oldest_age_seconds") == 60
    assert of_tilil("messages_recent", status="delivered") == 1
    assert of_tilil("messages_recent", status="failed") == 1
    assert of_tilil("messages_recent", status="sent") is None
    assert of_tilil("messages_unreported_ratio") == 0.75
    assert of_tilil("balance") == 1234.5
    assert of_tilil("balance_timestamp_seconds") == (clock.now - timedelta(seconds=60)).timestamp()
    assert of_tilil("line_rest_seconds") == 0


def add_message(tx: Tx, at: int, sent: Sent) -> None:
    """A message that was sent then."""
    wish = Send(source="tilil", to="+254726770792", text="hello")
    message = messages.add(tx, by_operator(from_micros(at)), jobs.OPERATOR, wish)
    assert messages.begin(tx, [Attempt(message, wish.to)], at, at) == [None]
    messages.sent(tx, message, at, sent)


def add_job(tx: Tx, *, due: int, asked: int) -> None:
    """A message that waits to be sent."""
    origin = by_operator(from_micros(asked))
    job = jobs.NewJob(kind="send", source="tilil", handler=jobs.OPERATOR, due_at=due)
    jobs.add_job(tx, origin, job)


@pytest.mark.anyio
async def test_a_store_that_cannot_be_read_takes_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service counts itself is told; that the rest is missing, too."""
    async with opened(tmp_path) as service:
        await take(service, inbound(1))
        collector = ServiceCollector(service)
        await collector.refresh()
        assert value(collector, "receiver_store_readable") == 1
        assert value(collector, "receiver_quarantine_requests", authentic="no") == 0
        monkeypatch.setattr(metrics, "TTL", 0.0)
        for error in (StoreUnavailable("disk I/O error"), ValueError("a fault of ours")):
            collector = ServiceCollector(service)

            async def broken(state: str, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(service.store.metrics, "jobs", broken)
            await collector.refresh()
            assert value(collector, "receiver_store_readable") == 0
            assert value(collector, "receiver_quarantine_requests", authentic="no") is None
            pushes = {"source": "tilil", "outcome": "stored"}
            assert value(collector, "receiver_pushes_total", **pushes) == 1


@pytest.mark.anyio
async def test_the_store_is_not_asked_at_each_scrape(tmp_path: Path) -> None:
    """Two looks in a moment are one."""
    async with opened(tmp_path) as service:
        collector = ServiceCollector(service)
        await collector.refresh()
        await service.store.run(add_job, due=1, asked=1)
        await collector.refresh()
        assert value(collector, "receiver_jobs_due", kind="send") == 0


@pytest.mark.anyio
async def test_reloads_are_told(tmp_path: Path) -> None:
    """When the configuration was taken in, and that the last attempt failed."""
    clock = Clock()
    taken, fine = (
        f"receiver_config_last_reload_{word}"
        for word in ("success_timestamp_seconds", "successful")
    )
    async with opened(tmp_path, clock=clock) as service:
        collector, start = ServiceCollector(service), clock.now.timestamp()
        clock.move(hours=1)
        write(tmp_path, settings(logs={"requests": "wrong"}))
        with pytest.raises(ConfigError):
            await reload(service)
        assert (value(collector, taken), value(collector, fine)) == (start, 0)
        write(tmp_path, settings())
        await reload(service)
        assert (value(collector, taken), value(collector, fine)) == (start + 3600, 1)


def test_histograms_count_what_is_not_above() -> None:
    """A value that equals a bound is in its bucket; a bucket counts all below it."""
    histogram = Histogram((1, 2.5))
    for number in (0, 1, 2, 2.5, 3):
        histogram.add(number)
    assert histogram.buckets() == [("1", 2.0), ("2.5", 4.0), ("+Inf", 5.0)]
    assert (histogram.total, histogram.count) == (8.5, 5)
