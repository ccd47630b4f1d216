"""What a worker and a client tell of themselves, after real effects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Histogram, Metric, Reading, Value
from effectmq.consumers.decisions.delivery import PARK_REASONS
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import EffectmqError
from tests.consumers.stage import AT_ONCE, PATIENCE_S, Stage, code, tool
from tests.waiting import eventually


def values(found: Iterable[Reading], metric: Metric) -> dict[tuple[str, ...], Value]:
    """The readings of one metric; each combination of labels must be there once."""
    readings = [reading for reading in found if reading.metric is metric]
    by_labels = {reading.labels: reading.value for reading in readings}
    assert len(by_labels) == len(readings), "twice under the same labels"
    return by_labels


def count(found: Iterable[Reading], metric: Metric, *labels: str) -> int:
    """How many values a histogram has."""
    value = values(found, metric)[labels]
    assert isinstance(value, Histogram)
    return value.count


def worker_with_tools(stage: Stage, journal: str | None) -> EffectWorker:
    worker = stage.worker(journal=journal)

    @worker.tool
    async def add(a: int, b: int) -> int:
        return a + b

    @worker.tool
    def fails() -> int:
        raise ValueError("no")

    return worker


async def test_outcomes_are_told_apart_by_route_and_result(stage: Stage, tmp_path: Path) -> None:
    """Three successes, one failure, one answer out of the journal."""
    worker = worker_with_tools(stage, f"sqlite:///{tmp_path / 'j.db'}")
    await stage.start(worker, ["tool_call", "sleep"])
    client = await stage.client()
    for number in range(3):
        await client.execute(tool("add", str(number), a=number, b=1), timeout=PATIENCE_S)
    await client.execute(tool("fails", "f"), timeout=PATIENCE_S)
    other = await stage.client("other")
    await other.execute(tool("add", "0", a=0, b=1), timeout=PATIENCE_S)
    await eventually(lambda: not stage.unsettled("tool_call"))

    found = list(worker.readings())
    assert values(found, catalog.OUTCOMES) == {
        ("tool_call", "success"): 3,
        ("tool_call", "failure"): 1,
        ("sleep", "success"): 0,
        ("sleep", "failure"): 0,
        ("limbo", "success"): 0,
        ("limbo", "failure"): 0,
    }
    assert values(found, catalog.TOOL_CALLS) == {("add", "success"): 3, ("fails", "failure"): 1}
    assert values(found, catalog.DELIVERIES)["tool_call",] == 5
    assert values(found, catalog.ATTEMPTS)["tool_call",] == 4
    assert values(found, catalog.REPLAYS)["tool_call",] == 1
    assert values(found, catalog.IN_FLIGHT)["tool_call",] == 0
    assert values(found, catalog.CONSUMING)[()] == 1
    assert values(found, catalog.CONNECTED) == {("worker",): 1}
    assert count(found, catalog.RUN_TIMES, "tool_call") == 4
    assert count(found, catalog.QUEUE_WAITS, "tool_call") == 5
    assert count(found, catalog.JOURNAL_TIMES, "claim") == 5
    assert count(found, catalog.JOURNAL_TIMES, "record") == 4
    assert count(found, catalog.REPLY_TIMES) >= 1
    asked = list(client.readings())
    assert values(asked, catalog.SUBMITTED)[()] == 4
    assert values(asked, catalog.CONNECTED) == {("client",): 1}
    assert values(asked, catalog.CLIENT_OUTCOMES)[()] == 4
    assert values(asked, catalog.CLIENT_WAITING)[()] == 0
    assert count(asked, catalog.CLIENT_WAITS) == 4


async def test_parks_have_their_reason(stage: Stage) -> None:
    """A handler that always raises is tried as often as it may, and given up."""
    worker = stage.worker(journal=None)

    @worker.handler("exec_code", retry=AT_ONCE)
    async def never(command: object) -> object:
        raise OSError("away")

    await stage.start(worker, ["exec_code"])
    client = await stage.client()
    with pytest.raises(EffectmqError):
        await client.execute(code(), timeout=PATIENCE_S)
    found = list(worker.readings())
    parked = values(found, catalog.PARKED)
    assert {labels: value for labels, value in parked.items() if value} == {
        ("exec_code", "exhausted"): 1
    }
    # A zero for each other one: who looks at what grows sees the first one, too.
    assert {reason for route, reason in parked if route == "exec_code"} == set(PARK_REASONS)
    assert values(found, catalog.RETRIES)["exec_code",] == 2


async def test_numbers_outlive_a_restart_of_the_worker(stage: Stage) -> None:
    """A counter that went down would look like a new process."""
    worker = worker_with_tools(stage, None)
    await stage.start(worker, ["tool_call"])
    client = await stage.client()
    await client.execute(tool("add", "1", a=1, b=1), timeout=PATIENCE_S)
    await worker.stop()
    assert values(worker.readings(), catalog.OUTCOMES)["tool_call", "success"] == 1
    assert values(worker.readings(), catalog.CONSUMING)[()] == 0
    await worker.start(["tool_call"])
    await client.execute(tool("add", "2", a=1, b=1), timeout=PATIENCE_S)
    assert values(worker.readings(), catalog.OUTCOMES)["tool_call", "success"] == 2


async def test_nothing_that_a_message_says_becomes_a_label(stage: Stage) -> None:
    """Else a stranger could make as many time series as messages."""
    worker = worker_with_tools(stage, None)
    await stage.start(worker, ["tool_call"])
    client = await stage.client()
    await client.execute(tool("no-such-tool-of-a-stranger", "1"), timeout=PATIENCE_S)
    labels = {label for reading in worker.readings() for label in reading.labels}
    assert not [label for label in labels if "stranger" in label]


async def test_a_worker_that_is_not_started_has_readings(stage: Stage) -> None:
    """A scrape may come before the start and after the end."""
    worker = worker_with_tools(stage, None)
    assert values(worker.readings(), catalog.CONSUMING) == {(): 0}
    assert values(worker.readings(), catalog.CONNECTED) == {("worker",): 0}
