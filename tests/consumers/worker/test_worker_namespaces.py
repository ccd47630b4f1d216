"""Two installations on one broker and one journal: the same effect runs in each."""

from __future__ import annotations

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import TopologySettings
from tests.consumers.stage import PATIENCE_S, payload, tool


async def test_neither_answers_the_others_effects(database_url: str) -> None:
    """Nor from the record, asked again by a client that looks there first."""
    url = "memory://namespaces"
    runs: list[str] = []
    for namespace in ("orders", "orders.test"):
        topology = TopologySettings(namespace=namespace)
        worker = EffectWorker(url, journal=database_url, topology=topology)

        async def where(namespace: str = namespace) -> str:
            runs.append(namespace)
            return namespace

        worker.tool(where)
        await worker.start()
        try:
            for _ in range(2):
                async with EffectClient(url, journal=database_url, topology=topology) as client:
                    outcome = await client.execute(tool("where"), timeout=PATIENCE_S)
                assert payload(outcome) == namespace
        finally:
            await worker.stop(0.0)
    assert runs == ["orders", "orders.test"]


async def test_variables_in_memory_are_those_of_one_namespace() -> None:
    """A handler that workers of two namespaces share would give one session's to the other."""
    url, handler = "memory://variables", CodeHandler()

    def worker(namespace: str) -> EffectWorker:
        made = EffectWorker(url, topology=TopologySettings(namespace=namespace))
        made.add(handler)
        return made

    for _ in range(2):
        first = worker("orders")
        await first.start()
        await first.stop(0.0)
    with pytest.raises(ConfigurationError, match=r"'orders' and 'orders\.test'"):
        await worker("orders.test").start()
