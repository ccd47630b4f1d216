"""The page of the metrics has each of them, as the catalog says it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from effectmq.broker.client.metrics import OWN as OF_CLIENT_ITSELF
from effectmq.broker.metrics import events
from effectmq.broker.metrics.catalog import CATALOG
from effectmq.broker.metrics.instruments import Metric
from effectmq.consumers.metrics.collecting import ELSEWHERE

_ROOT = Path(__file__).parents[3]
_PAGE = _ROOT / "docs" / "metrics.md"


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


def test_the_page_has_every_event() -> None:
    """Each table as its mapping says it."""
    page = _PAGE.read_text(encoding="utf-8")
    section = page.partition("## Events\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    mappings = (events.OF_WORKER, events.OF_CLIENT, events.OF_CONNECTION, events.OF_MEMORY)
    assert told == [row for mapping in mappings for row in mapping.items()]


def counted(folder: str) -> Iterator[str]:
    """The words that code below a folder adds to its counters."""
    for path in sorted((_ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.AugAssign(
                    target=ast.Subscript(
                        value=ast.Name(id=name) | ast.Attribute(attr=name),
                        slice=ast.Constant(value=str(word)),
                    )
                ) if name.endswith("counters"):
                    yield word


def test_every_event_that_is_counted_is_explained() -> None:
    """And none that nobody counts."""
    parked = {word for word in counted("consumers") if word.startswith("parked_")}
    worker = {*counted("consumers"), *counted("broker/store/letters")} - parked
    assert worker - ELSEWHERE == set(events.OF_WORKER)
    client = {*counted("broker/client"), *counted("broker/store/journal")}
    assert client - set(OF_CLIENT_ITSELF) == set(events.OF_CLIENT)
    assert set(counted("broker/transports/rabbitmq")) == set(events.OF_CONNECTION)
    memory = set(counted("broker/transports/memory"))
    assert memory - set(events.OF_CONNECTION) == set(events.OF_MEMORY)
