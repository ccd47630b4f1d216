"""The same numbers for Prometheus and for OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
)
from prometheus_client.parser import text_string_to_metric_families

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Histogram, Reading
from effectmq.monitoring.merging import collected
from effectmq.monitoring.otel import OtelMetrics
from effectmq.monitoring.prometheus import exposition
from tests.consumers.stage import logged


class Told:
    """A source that says always the same."""

    def __init__(self, *found: Reading) -> None:
        self._found = found

    def readings(self) -> Iterator[Reading]:
        yield from self._found


def took(*values: float) -> Histogram:
    histogram = Histogram((0.1, 1.0))
    for value in values:
        histogram.observe(value)
    return histogram


SOURCE = Told(
    Reading(catalog.OUTCOMES, ("tool_call", "success"), 3),
    Reading(catalog.OUTCOMES, ('odd"\n\\route', "failure"), 1),
    Reading(catalog.IN_FLIGHT, ("tool_call",), 2),
    Reading(catalog.RUN_TIMES, ("tool_call",), took(0.05, 0.1, 5.0)),
)


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_what_was_counted() -> None:
    """Labels with quotes, lines and backslashes included."""
    text, content_type = exposition([SOURCE])
    assert content_type.startswith("text/plain")
    route = ("route", "tool_call")
    assert samples(text) == {
        ("effectmq_outcomes_total", frozenset({route, ("result", "success")})): 3,
        (
            "effectmq_outcomes_total",
            frozenset({("route", 'odd"\n\\route'), ("result", "failure")}),
        ): 1,
        ("effectmq_in_flight", frozenset({route})): 2,
        ("effectmq_run_seconds_bucket", frozenset({route, ("le", "0.1")})): 2,
        ("effectmq_run_seconds_bucket", frozenset({route, ("le", "1.0")})): 2,
        ("effectmq_run_seconds_bucket", frozenset({route, ("le", "+Inf")})): 3,
        ("effectmq_run_seconds_count", frozenset({route})): 3,
        ("effectmq_run_seconds_sum", frozenset({route})): pytest.approx(5.15),
    }


def test_who_wants_openmetrics_gets_it() -> None:
    """A scraper of today asks for it."""
    text, content_type = exposition([SOURCE], "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_two_sources_of_one_process_are_added() -> None:
    """A second series under the same labels would be refused by whoever scrapes."""
    found = collected([SOURCE, SOURCE])
    assert found[catalog.OUTCOMES]["tool_call", "success"] == 6
    both = found[catalog.RUN_TIMES]["tool_call",]
    assert isinstance(both, Histogram)
    assert (both.counts, both.sum) == ([4, 0, 2], pytest.approx(10.3))


async def test_a_name_that_utf_8_does_not_have_takes_no_metric_away() -> None:
    """Tools of MCP servers and models have names from strangers; long ones are cut."""
    hostile = Told(
        Reading(catalog.OUTCOMES, ("half \ud83d", "success"), 2),
        Reading(catalog.OUTCOMES, ("x" * 100_000, "success"), 3),
        Reading(catalog.OUTCOMES, ("x" * 100_001, "success"), 4),
    )
    for accept in ("", "application/openmetrics-text; version=1.0.0"):
        text, _ = exposition([hostile, SOURCE], accept)
        assert b"half \\\\ud83d" in text
        assert len(text) < 10_000
    found = samples(exposition([hostile])[0])
    assert sorted(found.values()) == [2, 7]
    exporter = Exporter()
    async with OtelMetrics(hostile, exporter=exporter):
        pass
    names = [
        str(dict(point.attributes)["route"])
        for point in points(exporter.exported[0])["effectmq_outcomes"]
    ]
    assert all(name.encode() for name in names)


class Exporter:
    """Keeps what it is given, or fails as told."""

    def __init__(self, *results: MetricExportResult | Exception) -> None:
        self.exported: list[MetricsData] = []
        self.closed = False
        self._results = list(results)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0) -> MetricExportResult:
        self.exported.append(metrics_data)
        result = self._results.pop(0) if self._results else MetricExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        return result

    def shutdown(self, timeout_millis: float = 0) -> None:
        self.closed = True


def points(data: MetricsData) -> dict[str, list[Any]]:
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


async def test_opentelemetry_gets_the_same_numbers() -> None:
    """In the SDK's own types; there is a last push when it closes."""
    exporter = Exporter()
    async with OtelMetrics(SOURCE, exporter=exporter):
        assert not exporter.exported
    assert exporter.closed
    (data,) = exporter.exported
    found = points(data)
    counted, *_ = found["effectmq_outcomes"]
    assert isinstance(counted, NumberDataPoint)
    assert (dict(counted.attributes or {}), counted.value) == (
        {"route": "tool_call", "result": "success"},
        3,
    )
    (run,) = found["effectmq_run_seconds"]
    assert isinstance(run, HistogramDataPoint)
    assert (run.count, list(run.bucket_counts), list(run.explicit_bounds)) == (
        3,
        [2, 0, 1],
        [0.1, 1.0],
    )


async def test_a_collector_that_is_away_costs_no_number(caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log, and the next push has everything."""
    exporter = Exporter(OSError("refused"), MetricExportResult.FAILURE)
    metrics = OtelMetrics(SOURCE, exporter=exporter)
    for _ in range(3):
        await metrics.push()
    assert len(logged(caplog, "metrics_not_pushed")) == 2
    assert points(exporter.exported[-1])["effectmq_outcomes"][0].value == 3
