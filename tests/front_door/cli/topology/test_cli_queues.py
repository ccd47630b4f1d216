"""``effectmq queues`` and ``effectmq topology``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.records import Ask, Worker
from effectmq.broker.store.admission.store import AdmissionStore
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.transports import open_transport
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, Queue, Topology
from tests.brokers.provide import Broker
from tests.front_door.cli.command import Result, effectmq


def _at(broker: Broker, namespace: str) -> tuple[str, ...]:
    return ("--broker", broker.url, "--namespace", namespace)


def _states(result: Result, what: str) -> dict[str, str]:
    return {row["name"]: row["state"] for row in result.documents if row["object"] == what}


def test_planning_in_memory_shows_everything_as_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A memory broker is empty at its start, so the plan is the whole topology."""
    result = effectmq(capsys, "topology", "plan", "--broker", "memory://")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["object", "name", "state", "detail"]
    for kind in EFFECT_KINDS:
        (row,) = [line for line in lines if line.split()[:2] == ["queue", f"effects.work.{kind}"]]
        assert row.split()[2] == "missing"
        assert row.endswith("quorum, limit 20, then to effects.limbo")
    assert "20 queue(s) to create, 0 exist" in result.err


def test_there_are_no_queues_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """People get a sentence with the next step, scripts get nothing."""
    result = effectmq(capsys, "queues", "--broker", "memory://")
    assert result.code == 0
    assert "There are no queues in namespace 'effects'" in result.out
    assert "effectmq topology apply" in result.out
    assert effectmq(capsys, "queues", "--json").out == ""


def test_topology_needs_an_action(capsys: pytest.CaptureFixture[str]) -> None:
    """plan or apply."""
    result = effectmq(capsys, "topology")
    assert result.code == 2
    assert "ACTION" in result.err


def test_apply_creates_what_plan_has_shown(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing before, created by it, existing afterwards; a lane beside its kind."""
    words = ("--kind", "tool_call", "--kind", "tool_call.slow", *_at(broker, namespace), "--json")
    names = Names(namespace)
    work = {names.work_queue("tool_call"), names.work_queue("tool_call.slow")}
    planned = effectmq(capsys, "topology", "plan", *words)
    queues = _states(planned, "queue")
    assert work | {names.limbo, names.dead} <= set(queues)
    assert set(queues.values()) == {"missing"}
    assert set(_states(planned, "exchange").values()) == {"missing"}
    assert set(_states(planned, "binding").values()) == {"unknown"}
    applied = effectmq(capsys, "topology", "apply", *words)
    assert applied.code == 0
    assert set(_states(applied, "queue").values()) == {"created"}
    again = effectmq(capsys, "topology", "apply", *words)
    assert {row["state"] for row in again.documents} == {"exists"}


def test_queues_shows_what_exists_with_its_counts(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lane is found when it is named; what is submitted is counted as ready."""
    at = _at(broker, namespace)
    effectmq(capsys, "topology", "apply", "--kind", "sleep", "--kind", "sleep.long", *at)
    effectmq(capsys, "submit", "--kind", "sleep", "--args", '{"duration_ms": 1}', *at)
    result = effectmq(capsys, "queues", "--kind", "sleep.long", "--over", "500ms", *at, "--json")
    rows = {row["queue"]: row for row in result.documents}
    names = Names(namespace)
    assert rows[names.work_queue("sleep")] == {
        "queue": names.work_queue("sleep"),
        "role": "work",
        "route": "sleep",
        "ready": 1,
        "consumers": 0,
        "in_flight": 0,
        "in_per_s": 0.0,
        "out_per_s": 0.0,
        "oldest_at_most_s": None,
        "waited_s": None,
        "paused": None,
        "reasons": None,
        "admission_waiting": None,
        "source": "workers",
    }
    assert rows[names.work_queue("sleep.long")]["ready"] == 0
    assert rows[names.dead]["role"] == "dead"
    assert names.work_queue("llm_call") not in rows
    shown = effectmq(capsys, "queues", "--over", "500ms", *at)
    header = ["queue", "ready", "held", "in/s", "out/s", "oldest", "consumers", "state"]
    assert shown.out.splitlines()[0].split() == header
    assert "source: the broker's counts and 0 worker(s), rates over " in shown.err
    assert effectmq(capsys, "queues", *at, "--quiet").err == ""


def test_queues_tell_what_waits_for_admission_outside_of_them(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By route; nobody needs to have set a limit before."""
    url = f"sqlite:///{tmp_path}/journal.db"
    at = (*_at(broker, namespace), "--journal", url)

    async def wait() -> None:
        async with Journal(url, namespace=namespace) as journal:
            store = AdmissionStore(journal.database, Worker("w", 60_000))
            await store.open([Limit.of("tool_call", concurrency=1)], "w")
            for effect in "abc":
                line, message = (Line("tool_call"),), Message(body=b"")
                await store.ask(Ask(effect, effect, line, "tool_call", message, "tool_call"))

    async def make() -> None:
        async with Journal(url, namespace=namespace):
            pass

    asyncio.run(make())
    effectmq(capsys, "topology", "apply", "--kind", "tool_call", *_at(broker, namespace))
    words = ("queues", "--kind", "tool_call", "--over", "100ms", *at)
    assert "wait for admission" not in effectmq(capsys, *words).out
    asyncio.run(wait())
    assert (
        "wait for admission, outside of the queues: 2 tool_call\n" in effectmq(capsys, *words).out
    )
    rows = {row["queue"]: row for row in effectmq(capsys, *words, "--json").documents}
    names = Names(namespace)
    assert rows[names.work_queue("tool_call")]["admission_waiting"] == 2
    assert rows[names.dead]["admission_waiting"] is None


def test_a_difference_is_named_and_nothing_is_changed(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments cannot be changed on RabbitMQ, so apply refuses: exit code 2."""
    queue = Names(namespace).dead

    async def declare() -> None:
        async with open_transport(broker.url) as transport:
            wrong = Queue(queue, {"x-queue-type": "quorum", "x-delivery-limit": 7})
            await transport.declare(Topology(queues=(wrong,)))

    asyncio.run(declare())
    result = effectmq(capsys, "topology", "apply", *_at(broker, namespace))
    assert result.code == 2
    assert queue in result.err
    assert "x-delivery-limit" in result.err
