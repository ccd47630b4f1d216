"""Every row of the benchmarks measures what it says; no timing is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.kept.results import Figure
from benchmarks.rows import ROWS, depth, many
from benchmarks.rows.bench import Bench, Turns
from benchmarks.sides.processes import Side, Turn
from benchmarks.sides.spec import Spec
from tests.brokers.provide import Broker

_SECONDS = 0.05
#: These do more than let sides take turns; they are tried with real processes.
_OF_THEIR_OWN = {"10k", "depth", "start"}


class Imagined(Bench):
    """A bench whose sides take no time: what one did is made up from what it was to do."""

    def compare(
        self,
        specs: Mapping[str, Spec],
        *,
        turns: int | None = None,
        seconds: float | None = None,
        calls_each: int = 0,
        after: Callable[[Mapping[str, Side]], None] | None = None,
    ) -> Turns:
        """Plain does 100 a second, the others 200."""
        return {
            name: [Turn(10, 100, 2, 3, 4, 5) if spec.side == "plain" else Turn(9, 200, 1, 2, 3, 3)]
            for name, spec in specs.items()
        }


def bench_of(kind: type[Bench], folder: Path, broker: str = "amqp://nowhere") -> Bench:
    return kind(
        broker, folder, lambda: "postgresql://nowhere", turns=1, seconds=_SECONDS, quick=True
    )


@pytest.mark.parametrize("name", sorted(ROWS.keys() - _OF_THEIR_OWN))
def test_a_row_compares_what_is_ours_with_what_is_not(name: str, tmp_path: Path) -> None:
    figures = list(ROWS[name](bench_of(Imagined, tmp_path)))
    assert figures
    assert {figure.row for figure in figures} == {name}
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert isinstance(figure.fits, bool | None)
        if figure.unit == "times" and name not in ("costs", "lists", "recorded", "workers"):
            assert figure.value == (2.0 if figure.per == "a second" else 0.5)


def test_with_traces_one_more_side_is_compared(tmp_path: Path) -> None:
    bench = bench_of(Imagined, tmp_path)
    without = len(list(ROWS["1k"](bench)))
    bench.traces = True
    assert [figure.name for figure in ROWS["1k"](bench)][without:] == ["1k: traces"]


def test_a_machine_without_postgresql_measures_the_rest(tmp_path: Path) -> None:
    def missing() -> str:
        raise LookupError("there is none")

    bench = bench_of(Imagined, tmp_path)
    bench.postgres = missing
    assert "1k: postgres" not in {figure.name for figure in ROWS["1k"](bench)}
    assert bench.notes == ["nothing of PostgreSQL: there is none"]


@pytest.mark.parametrize(
    ("required", "value", "fits"),
    [("≥ 2.3", 2.3, True), ("≥ 2.3", 2.2, False), ("≤ 45", 45.1, False), ("", 1.0, None)],
)
def test_a_figure_knows_whether_it_is_what_it_should_be(
    required: str, value: float, fits: bool | None
) -> None:
    assert Figure("row", "name", "what", value, required=required).fits is fits


@pytest.mark.rabbitmq
@pytest.mark.one_broker
@pytest.mark.parametrize("row", [many.ten_thousand, depth.shallow_and_deep])
def test_a_row_is_measured_with_real_processes(
    row: Callable[[Bench], list[Figure]], broker: Broker, tmp_path: Path
) -> None:
    """Clients and workers are started, asked, weighed and ended."""
    bench = bench_of(Bench, tmp_path, broker.url)
    bench.deep = 1_200
    figures = list(row(bench))
    assert figures
    assert all(figure.value > 0 for figure in figures)


@pytest.mark.rabbitmq
@pytest.mark.one_broker
def test_client_and_worker_of_each_side_work(broker: Broker, tmp_path: Path) -> None:
    """Each has its own processes, whose clocks are read; a large body and a store go through."""
    bench = bench_of(Bench, tmp_path, broker.url)
    common = {"kind": "model", "body_bytes": 300_000, "in_flight": 2, "prefetch": 2}
    sides = {
        "plain": bench.spec(side="plain", answer="small", **common),
        "ours": bench.spec(attachments=bench.store(), **common),
        "recorded": bench.spec(side="recorded", journal=bench.sqlite(), in_flight=1),
    }
    for turns in bench.compare(sides).values():
        (turn,) = turns
        assert turn.calls >= 2
        assert turn.client_cpu_us > 0
