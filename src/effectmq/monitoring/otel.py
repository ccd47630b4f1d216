"""
Metrics for OpenTelemetry: pushed every so often to any exporter of its SDK.

Needs the extra ``otel``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol, Self

from effectmq.broker.metrics.instruments import Histogram, Metric, Value
from effectmq.broker.version import version
from effectmq.monitoring.merging import Source, collected
from effectmq.protocol.errors import MissingExtraError
from effectmq.protocol.text import describe

try:
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as missing:
    raise MissingExtraError("metrics for OpenTelemetry", "otel") from missing

__all__ = ["Exporter", "OtelMetrics"]

logger = logging.getLogger("effectmq.worker")

_TIMEOUT_MS = 10_000
Point = export.NumberDataPoint | export.HistogramDataPoint


class Exporter(Protocol):
    """What is used of a ``MetricExporter`` of the SDK; both calls may block."""

    def export(
        self, metrics_data: export.MetricsData, timeout_millis: float = ...
    ) -> export.MetricExportResult:
        """Send metrics."""
        ...

    def shutdown(self, timeout_millis: float = ...) -> None:
        """Close it."""
        ...


class OtelMetrics:
    """
    Pushes metrics while it is open. Use as an asynchronous context manager.

    Args:
        sources: Workers and clients of this process.
        exporter: Where to, for instance an ``OTLPMetricExporter``; it is shut down at the end.
        every_s: Seconds between two pushes; there is a last one at the end.
        resource: Who this process is; what the environment says (``OTEL_RESOURCE_ATTRIBUTES``,
            ``OTEL_SERVICE_NAME``) by default.
    """

    def __init__(
        self,
        *sources: Source,
        exporter: Exporter,
        every_s: float = 60.0,
        resource: Resource | None = None,
    ) -> None:
        self._sources = sources
        self._exporter = exporter
        self._every_s = every_s
        self._resource = resource or Resource.create()
        self._began_ns = time.time_ns()
        self._pushing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to push."""
        self._pushing = asyncio.get_running_loop().create_task(
            self._push_often(), name="effectmq otel metrics"
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Push once more, and shut the exporter down."""
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.gather(self._pushing, return_exceptions=True)
        await self.push()
        await asyncio.to_thread(self._exporter.shutdown)

    async def _push_often(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self.push()

    async def push(self) -> None:
        """Push what there is now. A collector that is away is logged; the next push has it all."""
        data = self.data()
        try:
            # Exporters block while they send.
            result = await asyncio.to_thread(self._exporter.export, data, _TIMEOUT_MS)
        except Exception as problem:
            _complain(describe(problem))
            return
        if result is not export.MetricExportResult.SUCCESS:
            _complain("the exporter reports a failure")

    def data(self) -> export.MetricsData:
        """The metrics in the SDK's own types."""
        now_ns = time.time_ns()
        metrics = [
            self._metric(metric, values, now_ns)
            for metric, values in collected(self._sources).items()
        ]
        scope = export.ScopeMetrics(InstrumentationScope("effectmq", version()), metrics, "")
        return export.MetricsData([export.ResourceMetrics(self._resource, [scope], "")])

    def _metric(
        self, metric: Metric, values: dict[tuple[str, ...], Value], now_ns: int
    ) -> export.Metric:
        points = [
            self._point(dict(zip(metric.labels, labels, strict=True)), value, now_ns)
            for labels, value in values.items()
        ]
        numbers = [one for one in points if isinstance(one, export.NumberDataPoint)]
        histograms = [one for one in points if isinstance(one, export.HistogramDataPoint)]
        data: export.Sum | export.Gauge | export.Histogram
        match metric.type:
            case "counter":
                data = export.Sum(numbers, export.AggregationTemporality.CUMULATIVE, True)
            case "gauge":
                data = export.Gauge(numbers)
            case "histogram":
                data = export.Histogram(histograms, export.AggregationTemporality.CUMULATIVE)
        unit = "s" if metric.unit == "seconds" else metric.unit or "1"
        return export.Metric(metric.name, metric.help, unit, data)

    def _point(self, labels: dict[str, str], value: Value, now_ns: int) -> Point:
        if not isinstance(value, Histogram):
            return export.NumberDataPoint(labels, self._began_ns, now_ns, value)
        # The smallest and the largest value are not kept, and said as the SDK says that.
        return export.HistogramDataPoint(
            labels,
            self._began_ns,
            now_ns,
            value.count,
            value.sum,
            value.counts,
            value.bounds,
            float("inf"),
            float("-inf"),
        )


def _complain(why: str) -> None:
    logger.warning(
        "metrics cannot be pushed to OpenTelemetry: %s; they are pushed again later",
        why,
        extra={"action": "metrics_not_pushed"},
    )
