"""The board for Grafana: its queries can be read, and ask for what there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.names import ROOT, names_in, there_are
from tests.deploy.promtool import Promtool

_FOLDER = ROOT / "deploy" / "grafana"
_BOARD: dict[str, Any] = json.loads((_FOLDER / "effectmq.json").read_text())
_WIDTH = 24


def panels() -> list[dict[str, Any]]:
    return [one for one in _BOARD["panels"] if one["type"] != "row"]


def queries() -> Iterator[str]:
    """Each with values for the variables that Grafana puts in."""
    for one in panels():
        for target in one["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m").replace("$route", ".*")


def test_prometheus_can_read_every_query(promtool: Promtool, tmp_path: Path) -> None:
    """As rules, for promtool reads no query by itself."""
    rules = [{"record": f"q{n}", "expr": query} for n, query in enumerate(queries())]
    found = {"groups": [{"name": "board", "rules": rules}]}
    (tmp_path / "board.yml").write_text(yaml.safe_dump(found))
    promtool("check", "rules", tmp_path / "board.yml")


def test_the_queries_use_metrics_that_there_are() -> None:
    """A panel without a value looks as if all were well."""
    used = {name for query in queries() for name in names_in(query)}
    assert used <= there_are()
    (route,) = [one for one in _BOARD["templating"]["list"] if one["name"] == "route"]
    assert names_in(route["definition"]) <= there_are()


def test_a_panel_says_what_it_shows_and_stands_alone() -> None:
    """With a title, a sentence and a unit; no two overlap, and all have one data source."""
    assert len({one["id"] for one in _BOARD["panels"]}) == len(_BOARD["panels"])
    for one in panels():
        assert one["title"]
        assert one["description"].endswith(".")
        assert one["fieldConfig"]["defaults"]["unit"]
        sources = [one["datasource"], *(target["datasource"] for target in one["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
    places = [one["gridPos"] for one in _BOARD["panels"]]
    assert all(place["x"] + place["w"] <= _WIDTH for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
