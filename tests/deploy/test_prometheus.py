"""Rules and configurations for Prometheus, by promtool, and what a scrape reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from effectmq import Client, Worker
from effectmq.broker.metrics.catalog import CATALOG
from effectmq.broker.metrics.instruments import Histogram, Reading
from effectmq.monitoring.prometheus import exposition
from effectmq.protocol.kinds import EFFECT_KINDS
from tests.deploy.names import PROMETHEUS, ROOT, alerts, names_in, rules, series, there_are
from tests.deploy.promtool import Promtool

_GUIDE = ROOT / "docs" / "guides" / "alerts.md"
_ON_MAIN = "https://github.com/effectmq/effectmq/blob/main/docs/guides/alerts.md#"
_TESTS: dict[str, Any] = yaml.safe_load((PROMETHEUS / "effectmq.rules.test.yml").read_text())


def test_the_alerts_fire_where_they_should(promtool: Promtool) -> None:
    """The tests of the rules are Prometheus' own."""
    promtool("check", "rules", "--lint-fatal", PROMETHEUS / "effectmq.rules.yml")
    promtool("test", "rules", PROMETHEUS / "effectmq.rules.test.yml")


def test_every_alert_is_seen_firing_and_silent() -> None:
    """One that is never silent, or never fires, is none."""
    fires, silent = set[str](), set[str]()
    for test in _TESTS["tests"]:
        for check in test.get("promql_expr_test", ()):
            (name,) = re.findall(r'alertname="(\w+)"', check["expr"])
            (fires if check["exp_samples"] else silent).add(name)
    assert fires == set(alerts())
    assert silent | {"EffectmqEffectsFail"} == set(alerts())  # there, other routes are silent


def test_the_configurations_are_valid(promtool: Promtool, tmp_path: Path) -> None:
    """Debian's promtool does not know Kubernetes, so pods stand there as an address."""
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    found: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus-kubernetes.yml").read_text())
    pods = found["scrape_configs"][0]
    assert [each["role"] for each in pods.pop("kubernetes_sd_configs")] == ["pod"]
    pods["static_configs"] = [{"targets": ["127.0.0.1:9464"]}]
    found["rule_files"] = [str(PROMETHEUS / "effectmq.rules.yml")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(found))
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_the_services_of_compose_are_scraped() -> None:
    """Each kind has a service there."""
    found: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (names,) = found["scrape_configs"][0]["dns_sd_configs"]
    assert names["names"] == sorted(EFFECT_KINDS)


@pytest.mark.parametrize("alert", alerts().values(), ids=alerts())
def test_an_alert_says_what_whoever_is_woken_needs(alert: dict[str, Any]) -> None:
    """For how long, how bad, where, and what to do."""
    assert alert["for"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    told = alert["annotations"]
    assert re.search(r"[Rr]oute|Tool|Model|queue", told["summary"])
    assert told["description"]
    assert told["runbook_url"] == _ON_MAIN + alert["alert"].lower()


def test_the_guide_has_every_alert_and_no_other() -> None:
    """In the order of the rules, each with what it means, the first command, and how to mend it."""
    page = _GUIDE.read_text()
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == list(alerts())
    for section in page.split("\n### ")[1:]:
        name, _, text = section.partition("\n")
        assert "```sh\neffectmq " in text or "```sh\nkubectl " in text, f"{name}: no first command"
        assert "**Mend:**" in text, f"{name}: not how to mend it"


def test_the_rules_use_metrics_that_there_are() -> None:
    """A name that nobody exports would never fire."""
    for rule in rules():
        used = names_in(rule["expr"])
        assert used or "up{" in rule["expr"], rule
        assert used <= there_are(), rule


async def test_a_scrape_of_worker_and_client_is_clean(promtool: Promtool) -> None:
    """By Prometheus' own lint: names, units, help."""
    app = Worker("memory://scraped", journal="none", name="w")

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    async with app, Client(place=app.place) as client:
        turn = client.turn("session", "turn")
        await turn.call(add, a=1, b=2)
        text, _ = exposition([app, client])
    assert b'effectmq_tool_calls_total{result="success",tool="add"} 1.0' in text
    assert promtool("check", "metrics", given=text) == ""


class Everything:
    """A source that has a value for every metric of the catalog."""

    def readings(self) -> Iterator[Reading]:
        for metric in CATALOG:
            value = Histogram() if metric.type == "histogram" else 1
            if isinstance(value, Histogram):
                value.observe(0.5)
            yield Reading(metric, tuple("x" for _ in metric.labels), value)


def test_every_metric_of_the_catalog_is_clean(promtool: Promtool) -> None:
    """Also those that one worker alone never tells, and under the names that rules use."""
    text, _ = exposition([Everything()])
    assert promtool("check", "metrics", given=text) == ""
    told = {line.partition("{")[0].partition(" ")[0] for line in text.decode().splitlines()}
    assert {name for metric in CATALOG for name in series(metric)} <= told
