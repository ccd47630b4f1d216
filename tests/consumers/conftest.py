"""A stage for every test of the consumers that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator

import pytest

from tests.brokers.node import BrokerNode
from tests.brokers.provide import Brokers
from tests.conftest import _have
from tests.consumers.stage import Stage, staged


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker that nobody else uses."""
    async with staged() as made:
        yield made


@pytest.fixture(scope="session")
def node(brokers: Brokers, broker_name: str, pytestconfig: pytest.Config) -> Generator[BrokerNode]:
    """
    A RabbitMQ node that only the tests of this folder share.

    They may stop it and change its users, and leave it running.
    """
    started = _have(pytestconfig, brokers.private, broker_name)
    yield started
    started.close()
