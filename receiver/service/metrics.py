"""Makes the metrics of /metrics from the counts of the service and its store.

The store is read at most once in `TTL` seconds and at a bounded cost. If it cannot be read, only
its own metrics are missing, and `receiver_store_readable` is 0.
docs/operations.md describes every metric.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import product

import structlog
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver import __version__
from receiver.errors import PushError, StoreError
from receiver.jobs.channel import FAILURES
from receiver.logs.requests import TRIED
from receiver.service.cluster_metrics import of_cluster
from receiver.service.families import counter, gauge, histogram, one, times, value
from receiver.service.parts import Service
from receiver.service.store_metrics import Newest, StoreMetrics, look
from receiver.store.engine import Sizes
from receiver.store.engine.cluster import Cluster
from receiver.store.engine.sqlite.inspection import DATABASE_VERSION
from receiver.store.metric_reads import amount

log = structlog.get_logger("receiver.service.metrics")

#: Seconds for which metrics of the store are reused.
TTL = 5.0


def _outcomes(cls: type[PushError]) -> Iterator[str]:
    for below in cls.__subclasses__():
        yield below.outcome
        yield from _outcomes(below)


#: The outcomes of a push. Each counter begins at 0, so that the first one is an increase.
OUTCOMES = ("stored", "repeat", TRIED, *_outcomes(PushError))


class ServiceCollector(Collector):
    """Makes metrics of a service's counts and of the store's, which `refresh` reads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._figures = StoreMetrics()
        self._until = 0.0
        self._sizes: Sizes | None = None
        self._cluster: Cluster | None = None
        self._newest = Newest(service.store.metrics)
        self._looking = asyncio.Lock()

    async def refresh(self) -> None:
        """Reads the metrics of the store, unless they are recent. Never raises."""
        async with self._looking:
            if time.monotonic() < self._until:
                return
            service = self._service
            self._sizes = await asyncio.to_thread(service.store.engine.sizes)
            self._cluster = None
            try:
                self._cluster = await asyncio.to_thread(service.store.engine.cluster)
                self._figures = await look(
                    service.store.metrics,
                    service.sending.lines if service.sending else (),
                    service.intake.clock(),
                )
                await self._newest.look(self._silent())
            except StoreError as error:
                log.warning("cannot look for metrics", error=str(error))
                self._figures = StoreMetrics()
            except Exception:
                log.exception("metrics of the store failed")
                self._figures = StoreMetrics()
            self._until = time.monotonic() + TTL

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics."""
        yield from self._of_program()
        yield from self._of_intake()
        yield from self._of_store()
        yield from of_cluster(self._cluster)
        yield from self._of_handlers()
        yield from self._of_sending()
        yield from self._of_forwarding()
        yield from self._of_trouble()

    def _of_program(self) -> Iterator[Metric]:
        build = (__version__, platform.python_version(), DATABASE_VERSION)
        yield gauge(
            "receiver_build_info",
            "Versions, as labels; always 1.",
            ("version", "python", "sqlite"),
            {build: 1},
        )
        yield value(
            "receiver_config_last_reload_success_timestamp_seconds",
            "Time at which the current configuration was loaded.",
            self._service.adopted_at.timestamp(),
        )
        yield value(
            "receiver_config_last_reload_successful",
            "0 after a reload that was refused because of faults, else 1.",
            not self._service.refused,
        )

    def _of_intake(self) -> Iterator[Metric]:
        counts = self._service.intake.counts
        yield counter(
            "receiver_pushes",
            "Pushes by source and outcome; the source is empty for unknown ones.",
            ("source", "outcome"),
            {
                **dict.fromkeys(product(self._service.intake.endpoints, OUTCOMES), 0),
                **{(source, outcome): n for (source, outcome), n in counts.outcomes.items()},
            },
        )
        yield counter("receiver_events", "Stored events by type.", ("type",), one(counts.events))
        yield counter(
            "receiver_ids_reused",
            "Stored events whose provider's id was seen before with another person or content.",
            ("source",),
            one({**dict.fromkeys(self._service.intake.endpoints, 0), **counts.reused}),
        )
        yield gauge(
            "receiver_last_push_timestamp_seconds",
            "Time of a source's last push that was stored or a repeat.",
            ("source",),
            times(self._last_pushes()),
        )
        yield CounterMetricFamily(
            "receiver_replies_held",
            "Replies that the loop guard held back.",
            value=self._service.workers.guard.held,
        )

    def _of_store(self) -> Iterator[Metric]:
        writer = self._service.store.writer
        yield histogram(
            "receiver_commit_seconds", "Commits by duration.", (), {(): writer.commits.seconds}
        )
        yield histogram(
            "receiver_commit_rows", "Commits by operations in them.", (), {(): writer.commits.rows}
        )
        yield value("receiver_queue_depth", "Operations that wait for a commit.", writer.depth)
        yield value(
            "receiver_queue_bytes", "Bytes of pushes that wait for a commit.", writer.waiting_bytes
        )
        yield value(
            "receiver_store_failing",
            "1 after a commit that failed, else 0.",
            bool(writer.commits.trouble),
        )
        yield value(
            "receiver_store_readable",
            "0 when the store cannot be read and its metrics are missing, else 1.",
            self._figures.readable,
        )
        found = self._sizes
        for name, text, size in (
            ("receiver_store_bytes", "Size of the store file.", found.store if found else None),
            (
                "receiver_wal_bytes",
                "Size of the store's write-ahead log.",
                found.wal if found else None,
            ),
            (
                "receiver_disk_free_bytes",
                "Free space on the store's disk.",
                found.free if found else None,
            ),
        ):
            yield gauge(name, text, (), {} if size is None else {(): size})

    def _of_handlers(self) -> Iterator[Metric]:
        workers = self._service.workers
        failures = dict.fromkeys(self._service.parts.dispatcher.by_name, 0)
        failures |= {name: runs.failures for name, runs in workers.runs.items()}
        yield histogram(
            "receiver_handler_seconds",
            "Runs of handlers that are not inline, by duration.",
            ("handler",),
            {(name,): runs.seconds for name, runs in workers.runs.items()},
        )
        yield counter(
            "receiver_handler_failures",
            "Failed runs of handlers, including inline ones.",
            ("handler",),
            one(failures),
        )
        yield counter(
            "receiver_handler_loops_abandoned",
            "Event loops of plugins that were abandoned, by the handler that blocked them.",
            ("handler",),
            one(workers.plugins.blocked.abandoned),
        )
        yield value(
            "receiver_handlers_held",
            "Runs of handlers in memory: running or waiting.",
            workers.held,
        )
        due = self._figures.due
        yield gauge(
            "receiver_jobs_due",
            "Jobs that are due now or later.",
            ("kind",),
            {(kind,): pile.rows for kind, pile in due.items()},
        )
        yield gauge(
            "receiver_jobs_oldest_age_seconds",
            "Age of the oldest of these jobs; 0 if there are none.",
            ("kind",),
            {(kind,): self._age(pile.since) for kind, pile in due.items()},
        )

    def _of_sending(self) -> Iterator[Metric]:
        figures, sending = self._figures, self._service.sending
        calls = sending.calls if sending else {}
        yield gauge(
            "receiver_outbox_depth",
            "Messages that wait to be sent.",
            ("source",),
            {(source,): pile.rows for source, pile in figures.outbox.items()},
        )
        yield gauge(
            "receiver_outbox_oldest_age_seconds",
            "Age of the oldest of these messages; 0 if there are none.",
            ("source",),
            {(source,): self._age(pile.since) for source, pile in figures.outbox.items()},
        )
        yield gauge(
            "receiver_messages_recent",
            "Messages sent in the last 24 hours by status, of the newest 5000 of a source.",
            ("source", "status"),
            {
                (source, status): count
                for source, statuses in figures.statuses.items()
                for status, count in statuses.items()
            },
        )
        yield gauge(
            "receiver_messages_unreported_ratio",
            "Share of messages, sent 24 to 48 hours ago, whose final status is not known.",
            ("source",),
            one(figures.unreported),
        )
        yield histogram(
            "receiver_provider_call_seconds",
            "Calls of a provider's API by duration.",
            ("source",),
            {(source,): each.seconds for source, each in calls.items()},
        )
        yield counter(
            "receiver_provider_errors",
            "Calls that failed: retryable, unknown or refused.",
            ("source", "kind"),
            {
                (source, kind): count
                for source, each in calls.items()
                for kind, count in {**dict.fromkeys(FAILURES, 0), **each.errors}.items()
            },
        )
        yield gauge(
            "receiver_line_rest_seconds",
            "Remaining pause in the calls to a provider that fails; 0 without a pause.",
            ("source",),
            {(name,): line.rest for name, line in (sending.lines if sending else {}).items()},
        )
        balances = {
            source: (number, heard.time)
            for source, heard in figures.balances.items()
            if (number := amount(heard.amount)) is not None
        }
        yield gauge(
            "receiver_balance",
            "Credit in the provider's answer to a message, in the provider's unit.",
            ("source",),
            {(source,): number for source, (number, _) in balances.items()},
        )
        yield gauge(
            "receiver_balance_timestamp_seconds",
            "Time at which the message with that balance was sent.",
            ("source",),
            times({source: at for source, (_, at) in balances.items()}),
        )

    def _of_forwarding(self) -> Iterator[Metric]:
        sending = self._service.sending
        forwarder = sending.forwarder if sending else None
        yield gauge(
            "receiver_target_failing",
            "1 while a target takes no events or after it answered 410, else 0.",
            ("target",),
            one(forwarder.failing() if forwarder else {}),
        )

    def _of_trouble(self) -> Iterator[Metric]:
        figures = self._figures
        yield gauge(
            "receiver_dead_letters",
            "Jobs that failed for the last time.",
            ("kind",),
            {(kind,): pile.rows for kind, pile in figures.dead.items()},
        )
        yield gauge(
            "receiver_quarantine_requests",
            "Requests in the quarantine: of providers (yes) or of strangers (no).",
            ("authentic",),
            one(figures.quarantined),
        )
        yield value(
            "receiver_report_lag_seconds",
            "Age of the oldest event or message that reports do not count yet; 0 if there is none.",
            self._age(figures.uncounted),
        )
        retention = self._service.sending.retention if self._service.sending else None
        yield value(
            "receiver_retention_held_back",
            "1 while retention deletes nothing because the clock is not trusted, else 0.",
            retention is not None and retention.held_back is not None,
        )
        yield counter(
            "receiver_restarts",
            "Threads and tasks of the service that ended unexpectedly and were restarted.",
            ("task",),
            one(self._service.supervisor.restarts),
        )
        yield CounterMetricFamily(
            "receiver_log_lines_left_out",
            "Log lines about pushes that were dropped because the log's reader was slow.",
            value=self._service.requests.lost,
        )

    def _silent(self) -> set[str]:
        """Returns the sources that can push and have not since the start."""
        intake = self._service.intake
        pushing = {name for name, endpoint in intake.endpoints.items() if endpoint.provider.pushes}
        return pushing - intake.counts.last.keys()

    def _last_pushes(self) -> dict[str, datetime]:
        """Returns the time of each source's last push: from the counts, else from the store."""
        intake = self._service.intake
        found = {**self._newest.found, **intake.counts.last}
        return {name: found[name] for name in intake.endpoints if name in found}

    def _age(self, since: datetime | None) -> float:
        if since is None:
            return 0.0
        return max(0.0, (self._service.intake.clock() - since).total_seconds())
