"""Fixtures of the RabbitMQ adapter's own tests: a broker to maltreat, and an ear for noise."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from tests.brokers.node import BrokerNode
from tests.brokers.provide import Brokers
from tests.conftest import _have


@pytest.fixture(scope="session")
def node(brokers: Brokers, broker_name: str, pytestconfig: pytest.Config) -> Generator[BrokerNode]:
    """
    A RabbitMQ node that only the tests of this folder share.

    They may stop it, kill it and close its connections, and leave it running, without an alarm.
    """
    started = _have(pytestconfig, brokers.private, broker_name)
    yield started
    started.close()


@pytest.fixture
async def quiet() -> AsyncIterator[None]:
    """Nothing is said to the event loop's exception handler, and no task is left behind."""
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    said: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: said.append(context))
    yield
    left: set[asyncio.Task[Any]] = set()
    for _ in range(100):
        gc.collect(0)
        left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
        if not left:
            break
        await asyncio.sleep(0.01)
    gc.collect()
    loop.set_exception_handler(None)
    assert not left
    assert not said
