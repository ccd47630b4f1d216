"""The names of metrics that expressions use, and those that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from effectmq.broker.metrics.catalog import CATALOG
from effectmq.broker.metrics.instruments import Metric

__all__ = [
    "FROM_RABBITMQ",
    "PROMETHEUS",
    "RULES",
    "alerts",
    "names_in",
    "rules",
    "series",
    "there_are",
]

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES: dict[str, Any] = yaml.safe_load((PROMETHEUS / "effectmq.rules.yml").read_text())

#: What RabbitMQ itself tells; ``test_rabbitmq.py`` asks a real one.
FROM_RABBITMQ = frozenset(
    {"rabbitmq_detailed_queue_messages_ready", "rabbitmq_detailed_queue_consumers"}
)

_NAME = re.compile(r"(?<![\w:])(?:[a-z]+:)?(?:effectmq|rabbitmq)_\w+(?::\w+)?")


def names_in(expression: str) -> set[str]:
    """The metrics of an expression, and the recorded ones with their colons."""
    return set(_NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


def series(metric: Metric) -> set[str]:
    """The names under which Prometheus keeps a metric."""
    match metric.type:
        case "counter":
            return {f"{metric.name}_total"}
        case "gauge":
            return {metric.name}
        case "histogram":
            return {f"{metric.name}_{part}" for part in ("bucket", "count", "sum")}


def rules() -> list[dict[str, Any]]:
    """Every rule of every group."""
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def there_are() -> set[str]:
    """Every name that an expression may use."""
    own = {name for metric in CATALOG for name in series(metric)}
    return own | FROM_RABBITMQ | {rule["record"] for rule in rules() if "record" in rule}
