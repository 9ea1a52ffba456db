"""Makes the families of metrics that Prometheus' library writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from receiver.logs.histogram import Histogram

Labels = tuple[str, ...]


def one(values: Mapping[str, float]) -> dict[Labels, float]:
    """Returns the values with their keys as labels."""
    return {(key,): value for key, value in values.items()}


def times(found: Mapping[str, datetime]) -> dict[Labels, float]:
    """Returns times as seconds, with their keys as labels."""
    return {(key,): time.timestamp() for key, time in found.items()}


def value(name: str, text: str, number: float) -> Metric:
    """Returns a gauge without labels."""
    return GaugeMetricFamily(name, text, value=float(number))


def gauge(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    """Returns a gauge by its labels."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), values.items())


def counter(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    """Returns a counter by its labels."""
    return _filled(CounterMetricFamily(name, text, labels=labels), values.items())


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Iterable[tuple[Labels, float]]
) -> Metric:
    for labels, value in sorted(values):
        family.add_metric(labels, float(value))
    return family


def histogram(name: str, text: str, labels: Labels, values: Mapping[Labels, Histogram]) -> Metric:
    """Returns histograms by their labels."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, histogram in sorted(values.items()):
        family.add_metric(key, histogram.buckets(), histogram.total)
    return family
