"""``effectmq ping``, as an operator types it."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.transports import open_transport
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.topology import Names, TopologySettings
from tests.brokers.provide import Broker
from tests.front_door.cli.command import effectmq


@pytest.mark.parametrize("words", [["ping"], ["workers", "list"]])
def test_a_broker_in_memory_has_no_workers_to_ask(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is usually missing then is the address of the broker."""
    result = effectmq(capsys, *words)
    assert (result.code, result.out) == (1, "")
    assert "name theirs with --broker amqp://host or EFFECTMQ_BROKER" in result.err


async def test_ping_over_rabbitmq(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The times, and exit code 1 for the route that is silent."""
    at = ("--broker", broker.url, "--namespace", namespace)
    nothing = await asyncio.to_thread(effectmq, capsys, "ping", *at)
    assert nothing.code == 1
    assert "no worker was ever started" in nothing.err
    worker = EffectWorker(
        broker.url, topology=TopologySettings(namespace=namespace), name="w", journal=None
    )
    await worker.start(["sleep"])
    try:
        result = await asyncio.to_thread(effectmq, capsys, "ping", *at, "--json")
        assert result.code == 0
        (row,) = result.documents
        assert (row["route"], row["worker"], row["problem"]) == ("sleep", "w", None)
        assert row["ms"] > 0
        both = await asyncio.to_thread(effectmq, capsys, "ping", "sleep", "exec_code", *at)
        assert both.code == 1
        assert "exec_code" in both.out
        assert "it has no queue" in both.out
        async with open_transport(broker.url) as transport:
            stats = await transport.stats(Names(namespace).work_queue("sleep"))
        assert stats is not None
        assert stats.ready == 0
    finally:
        await worker.stop(0.0)
