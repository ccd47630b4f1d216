"""Two installations on one broker and one journal: the same effect runs in each."""

from __future__ import annotations

from effectmq.broker.client import EffectClient
from effectmq.consumers.worker import EffectWorker
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
