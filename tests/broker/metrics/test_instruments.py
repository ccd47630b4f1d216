"""Histograms and counters with labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.broker.metrics.catalog import CATALOG, TOOL_CALLS
from effectmq.broker.metrics.instruments import FAST_S, SLOW_S, Histogram, Metric, Tally


@given(st.lists(st.floats(0, 1e6)))
def test_a_histogram_has_every_value_in_the_bucket_of_its_bound(values: list[float]) -> None:
    """A value that is a bound lies below it, as Prometheus has it (``le``)."""
    histogram = Histogram(SLOW_S)
    for value in values:
        histogram.observe(value)
    for bound, count in histogram.cumulated():
        assert count == sum(value <= bound for value in values)
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_a_tally_counts_each_combination_of_labels() -> None:
    """What a stranger says is less than nothing does not count."""
    tally = Tally(TOOL_CALLS)
    tally.add("add", "success")
    tally.add("add", "success", by=2)
    tally.add("add", "failure", by=-5)
    found = {labels: value for _, labels, value in tally.readings()}
    assert found == {("add", "success"): 3, ("add", "failure"): 0}


def test_bounds_ascend() -> None:
    """Else a value would count in a wrong bucket."""
    for bounds in (FAST_S, SLOW_S):
        assert list(bounds) == sorted(set(bounds))


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_names_follow_the_rules_of_the_field(metric: Metric) -> None:
    """Those of Prometheus, whose exporter adds ``_total`` to counters."""
    assert re.fullmatch(r"effectmq_[a-z_]+", metric.name)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert metric.name.endswith(f"_{metric.unit}") == bool(metric.unit) or not metric.unit
    assert metric.help.endswith(".")
    assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)


def test_each_name_is_there_once() -> None:
    """Two metrics under one name would be one to whoever reads them."""
    names = [metric.name for metric in CATALOG]
    assert len(names) == len(set(names))
