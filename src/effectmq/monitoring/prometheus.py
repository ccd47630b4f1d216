"""
Metrics in the text format of Prometheus, made when somebody asks for them.

Needs the extra ``metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from effectmq.broker.metrics.instruments import Histogram, Metric, Value
from effectmq.monitoring.merging import Source, collected
from effectmq.protocol.errors import MissingExtraError

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise MissingExtraError("metrics for Prometheus", "metrics") from missing

__all__ = ["PrometheusCollector", "exposition"]

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class PrometheusCollector(Collector):
    """
    A collector for a registry of ``prometheus-client``.

    Args:
        sources: Workers and clients of this process.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        """One family for each metric that has a value."""
        for metric, values in collected(self._sources).items():
            yield _family(metric, values)


def exposition(sources: Iterable[Source], accept: str = "") -> tuple[bytes, str]:
    """
    All metrics as text.

    Args:
        sources: Workers and clients of this process.
        accept: The ``Accept`` header of who asks; it may want OpenMetrics.

    Returns:
        The text, and its content type.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PrometheusCollector(*sources))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _family(metric: Metric, values: dict[tuple[str, ...], Value]) -> Family:
    if metric.type == "histogram":
        histograms = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in values.items():
            if isinstance(value, Histogram):
                histograms.add_metric(labels, _buckets(value), value.sum)
        return histograms
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        if not isinstance(value, Histogram):
            family.add_metric(labels, value)
    return family


def _buckets(value: Histogram) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == float("inf") else str(bound), float(count))
        for bound, count in value.cumulated()
    ]
