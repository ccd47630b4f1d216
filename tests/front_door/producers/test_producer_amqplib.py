"""A program in TypeScript that knows amqplib asks for a tool call on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers.provide import Broker
from tests.front_door.producers.node import needs_node, node
from tests.front_door.producers.stage import PRODUCERS, outcome_of, ran, serving

_LIBRARY = PRODUCERS / "node_modules" / "amqplib"


pytestmark = [
    needs_node,
    pytest.mark.skipif(
        not _LIBRARY.exists(),
        reason="amqplib is not installed; npm install --prefix examples/producers",
    ),
]
_COMMAND = (node(), PRODUCERS / "producer_amqplib.ts", "add", '{"b": 2, "a": 1}')


@pytest.mark.one_broker
async def test_it_gets_its_outcome_and_the_recorded_one_when_it_asks_again(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    """The second run finds the queue of the first, and the key names the same effect."""
    async with serving(broker.url, namespace, tmp_path) as sums:
        for _ in range(2):
            result = await outcome_of(_COMMAND, broker.url, namespace)
            completed = result["Ok"]["result"]
            assert completed["args"] == {"a": 1, "b": 2}
            assert completed["output"]["outcome"] == {"status": "success", "payload": 3}
        assert sums == [3]


@pytest.mark.one_broker
async def test_a_namespace_without_workers_is_a_sentence(broker: Broker, namespace: str) -> None:
    """The exchange is not there, and the broker says which one."""
    code, out, err = await ran(_COMMAND, broker.url, namespace)
    assert code == 1
    assert out == ""
    assert f"no exchange '{namespace}.work'" in err
    assert len(err.splitlines()) == 1
