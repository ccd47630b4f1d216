"""A program in TypeScript that knows amqplib asks for a tool call on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers.provide import Broker
from tests.front_door.producers.node import needs_node, node
from tests.front_door.producers.stage import PRODUCERS, outcome_of, serving

_LIBRARY = PRODUCERS / "node_modules" / "amqplib"


@needs_node
@pytest.mark.one_broker
@pytest.mark.skipif(
    not _LIBRARY.exists(),
    reason="amqplib is not installed; npm install --prefix examples/producers",
)
async def test_it_gets_its_outcome_and_the_recorded_one_when_it_asks_again(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    """The second run finds the queue of the first, and the key names the same effect."""
    command = (node(), PRODUCERS / "producer_amqplib.ts", "add", '{"b": 2, "a": 1}')
    async with serving(broker.url, namespace, tmp_path) as sums:
        for _ in range(2):
            result = await outcome_of(command, broker.url, namespace)
            completed = result["Ok"]["result"]
            assert completed["args"] == {"a": 1, "b": 2}
            assert completed["output"]["outcome"] == {"status": "success", "payload": 3}
        assert sums == [3]
