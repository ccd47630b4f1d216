"""What the pages say of speed is what was measured: the table and the pictures of the kept runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.kept.peers import PeerFigure, PeerRun, peer_table
from benchmarks.kept.plots import by_in_flight, by_size
from benchmarks.kept.results import Figure, Run
from benchmarks.kept.table import replaced, table
from benchmarks.table import ROOT, files

_MACHINE = {"cpu": "EPYC", "cores": 2, "memory_gib": 24}


def run_of(*figures: Figure, rabbitmq: str = "3.10.8") -> Run:
    versions = {"rabbitmq": rabbitmq, "python": "3.11.7", "aio-pika": "10.2.1"}
    return Run("2026-11-30T05:00:00+00:00", _MACHINE, versions, {"turns": 7}, list(figures))


def point(row: str, over: str, value: int, ours: float, beside: float) -> Figure:
    return Figure(row, f"{row}: {value}", "", 1.0, ours=ours, beside=beside, shape={over: value})


def test_the_pages_say_what_was_measured() -> None:
    """``python -m benchmarks.table`` writes them."""
    for name, content in files(Run.kept(), PeerRun.kept()).items():
        assert (ROOT / name).read_text() == content, f"run python -m benchmarks.table for {name}"


def test_the_table_has_a_column_for_each_run_and_a_line_for_each_figure() -> None:
    throughput = Figure("1k", "1k: none", "1 KiB", 2.314, ours=1310.4, beside=567, per="a second")
    memory = Figure("start", "start: memory", "an idle worker", 44.2, "MB", "≤ 45")
    made = table([run_of(throughput, memory), run_of(throughput, rabbitmq="4.0.5")])
    lines = made.splitlines()
    assert lines[2:] == [
        "| | RabbitMQ 3.10.8 | RabbitMQ 4.0.5 |",
        "|---|---|---|",
        "| 1 KiB | 2.31\u00d7 (1,310 to 567 a second) | 2.31\u00d7 (1,310 to 567 a second) |",
        "| an idle worker | 44.2 MB |  |",
    ]
    assert "2 cores (EPYC, 24 GiB)" in lines[0]
    assert "busy" not in lines[0]


def test_the_table_says_when_the_machine_did_other_work() -> None:
    run = run_of(Figure("1k", "1k: none", "1 KiB", 2.0))
    run.how["load_before"] = 3.5
    assert "busy with other work (load 3.5)" in table([run])


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has not, once each"):
        replaced("# A page\n", "the table", "…")


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = run_of(point("by-size", "body_bytes", 1024, 2, 1))
    run.write(tmp_path / run.file_name)
    assert run.file_name == "rabbitmq-3.10.json"
    assert Run.kept(tmp_path) == [run]


def test_a_plot_has_each_point_once_inside_of_its_picture() -> None:
    sizes = [point("by-size", "body_bytes", size, 1500 - size / 1e3, 700) for size in (1024, 10**6)]
    flights = [point("by-in-flight", "in_flight", n, 100 * n, 90 * n) for n in (1, 10, 100)]
    run = run_of(*sizes, *flights)
    for plot, count in ((by_size(run), 2), (by_in_flight(run), 3)):
        picture = ET.fromstring(plot.svg())
        width, height = float(picture.get("width", 0)), float(picture.get("height", 0))
        circles = list(picture.iter("{http://www.w3.org/2000/svg}circle"))
        assert len(circles) == 2 * count
        for circle in circles:
            assert 0 < float(circle.get("cx", 0)) < width
            assert 0 < float(circle.get("cy", 0)) < height
        assert picture.findtext("{http://www.w3.org/2000/svg}desc")


def test_peers_stand_beside_what_they_promise(tmp_path: Path) -> None:
    figures = [
        PeerFigure(side, in_flight, per_second, 2.5, 900)
        for side, per_second in (("ours", 1500), ("celery", 500), ("celery, careful", 300))
        for in_flight in (1, 100)
    ]
    versions = {"rabbitmq": "4.0.5", "celery": "5.7.0"}
    promises = {"ours": "all of it", "celery": "less", "celery, careful": "more"}
    PeerRun("2026-11-30", _MACHINE, versions, {"turns": 7}, figures, promises).keep(tmp_path)
    lines = peer_table(PeerRun.kept(tmp_path)).splitlines()
    assert lines[-3:] == [
        "| effectmq | 1,500 a second | 900 µs | 2.5 ms | all of it |",
        "| celery 5.7.0 | 500 a second; ours is 3.0\u00d7 that | 900 µs | 2.5 ms | less |",
        "| celery 5.7.0, careful | 300 a second; ours is 5.0\u00d7 that | 900 µs | 2.5 ms | more |",
    ]
