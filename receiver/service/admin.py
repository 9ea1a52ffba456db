"""The admin address: metrics, and readiness with its reason. Strangers must not reach it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.service.metrics import ServiceCollector
from receiver.service.parts import Service
from receiver.service.readiness import Readiness

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_admin(service: Service, readiness: Readiness) -> Starlette:
    """Makes the application of the admin address."""
    registry = CollectorRegistry()
    collector = ServiceCollector(service)
    registry.register(collector)
    ProcessCollector(registry=registry)

    async def metrics(request: Request) -> Response:
        await collector.refresh()
        return Response(generate_latest(registry), media_type=_CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/metrics", metrics, methods=["GET"]),
            Route("/readyz", readiness.answer_admin, methods=["GET"]),
        ]
    )
