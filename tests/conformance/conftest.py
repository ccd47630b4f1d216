"""Fixtures of the conformance suites: every test runs on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from effectmq.broker.transports.port import Transport
from effectmq.protocol.topology import Names, TopologySettings, shared_topology, work_topology
from tests.brokers.provide import Brokers
from tests.conformance.adapters import Adapter, AmqpAdapter, MemoryAdapter
from tests.conftest import _have, on_every_broker

#: Everything that cleaning up may take, in seconds.
_CLOSE_S = 30

#: Two kinds, and a lane of the first.
ROUTES = ("tool_call", "tool_call.slow", "llm_call")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test in memory, and on each broker that the session wants."""
    on_every_broker(metafunc, "adapter_name")


@pytest.fixture
async def adapter(
    adapter_name: str, brokers: Brokers, namespace: str, pytestconfig: pytest.Config
) -> AsyncIterator[Adapter]:
    """Each transport adapter in turn, with a broker behind it."""
    made: Adapter
    if adapter_name == "memory":
        made = MemoryAdapter(namespace)
    else:
        made = AmqpAdapter(_have(pytestconfig, brokers.shared, adapter_name).url)
    yield made
    async with asyncio.timeout(_CLOSE_S):
        await made.close()


@pytest.fixture
def connect(adapter: Adapter) -> Callable[..., Awaitable[Transport]]:
    """Connected transports to one broker, closed at the end of the test."""
    return adapter.connect


@pytest.fixture
def names(namespace: str) -> Names:
    """How this test's exchanges and queues are called."""
    return Names(namespace)


@pytest.fixture
def settings(namespace: str) -> TopologySettings:
    """An installation with short delays and a low delivery limit."""
    return TopologySettings(
        namespace=namespace,
        delay_levels_ms=(100, 1_500),
        delivery_limit=3,
        reply_expires_ms=60_000,
    )


@pytest.fixture
async def transport(adapter: Adapter, settings: TopologySettings) -> Transport:
    """A connected transport that has declared everything for ``ROUTES``."""
    connected = await adapter.connect()
    topology = shared_topology(settings) | work_topology(settings, ROUTES)
    await adapter.declare(connected, topology)
    return connected
