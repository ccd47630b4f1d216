"""The page of the metrics has each of them, as the catalog says it."""

from __future__ import annotations

from pathlib import Path

from effectmq.broker.metrics.catalog import CATALOG
from effectmq.broker.metrics.instruments import Metric

_PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def row(metric: Metric) -> str:
    name = metric.name + ("_total" if metric.type == "counter" else "")
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    return f"| `{name}` | {metric.type} | {labels} | {metric.help} |"


def test_the_page_has_every_metric_and_no_other() -> None:
    """In the order of the catalog."""
    lines = _PAGE.read_text(encoding="utf-8").splitlines()
    told = [line for line in lines if line.startswith("| `effectmq_")]
    assert told == [row(metric) for metric in CATALOG]


def test_every_label_is_explained() -> None:
    """In the second table of the page."""
    page = _PAGE.read_text(encoding="utf-8")
    labels = {label for metric in CATALOG for label in metric.labels}
    assert not [label for label in labels if f"`{label}`" not in page.partition("The labels:")[2]]
