"""The admin address: metrics for Prometheus. Never to be reached from outside.

The service counts in plain numbers; this reads them when it is asked, so that metrics cost
nothing on the way of a push.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.service import Service

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_admin(service: Service) -> Starlette:
    """The application of the admin address."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=_CONTENT_TYPE)

    return Starlette(routes=[Route("/metrics", metrics, methods=["GET"])])


class ServiceCollector(Collector):
    """Reads a service's counts."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Every metric there is; docs/operations.md describes each."""
        counts, writer = self._service.intake.counts, self._service.store.writer
        pushes = CounterMetricFamily(
            "receiver_pushes",
            "Pushes by source and outcome; an empty source is one that does not exist.",
            labels=("source", "outcome"),
        )
        for (source, outcome), count in sorted(counts.outcomes.items()):
            pushes.add_metric((source, outcome), count)
        yield pushes
        events = CounterMetricFamily("receiver_events", "Stored events by type.", labels=("type",))
        for type_, count in sorted(counts.events.items()):
            events.add_metric((type_,), count)
        yield events
        held = self._service.workers.guard.held
        yield CounterMetricFamily(
            "receiver_replies_held", "Replies that the loop guard held back.", value=held
        )
        yield CounterMetricFamily("receiver_commits", "Transactions.", value=writer.commits)
        yield CounterMetricFamily("receiver_commit_rows", "Operations in them.", value=writer.rows)
        yield GaugeMetricFamily(
            "receiver_queue_depth", "Operations that wait for a commit.", value=writer.depth
        )
        yield GaugeMetricFamily(
            "receiver_handlers_held",
            "Handler runs in memory: running, or waiting for their turn.",
            value=self._service.workers.held,
        )
