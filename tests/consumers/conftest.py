"""A stage for every test of the consumers that wants one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack

import pytest

from tests.brokers.node import BrokerNode
from tests.brokers.provide import Brokers
from tests.conftest import _have
from tests.consumers.stage import PATIENCE_S, Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker that nobody else uses; its end is bounded, because hanging is what we test for."""
    async with AsyncExitStack() as stack:
        yield Stage(stack)
        async with asyncio.timeout(PATIENCE_S):
            await stack.aclose()


@pytest.fixture(scope="session")
def node(brokers: Brokers, broker_name: str, pytestconfig: pytest.Config) -> Generator[BrokerNode]:
    """
    A RabbitMQ node that only the tests of this folder share.

    They may stop it and change its users, and leave it running.
    """
    started = _have(pytestconfig, brokers.private, broker_name)
    yield started
    started.close()
