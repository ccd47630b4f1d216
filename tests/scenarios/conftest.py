"""A fleet on the shared broker, and one on a broker of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import aiormq
import pytest

from effectmq.protocol.topology import Names
from tests.brokers.node import BrokerNode
from tests.brokers.provide import Broker
from tests.scenarios.fleet import Fleet

#: The producers' identity in all scenarios on the shared broker.
IDENTITY = "caller"
#: And those of producers beside it.
IDENTITIES = (IDENTITY, *(f"caller-{number}" for number in range(4)))
#: One level, just above what is slept in place, so that a retry over the broker is a short wait.
_LEVELS_MS = (1_100,)


@pytest.fixture
async def fleet(broker: Broker, namespace: str, tmp_path: Path) -> AsyncGenerator[Fleet]:
    """Worker and producer processes on the shared broker; all are gone afterwards."""
    with Fleet(tmp_path, broker.url, namespace, delay_levels_ms=_LEVELS_MS) as fleet:
        yield fleet
    await removed(broker, namespace)


@pytest.fixture
async def recording_fleet(broker: Broker, namespace: str, tmp_path: Path) -> AsyncGenerator[Fleet]:
    """The same, whose workers have a journal."""
    levels, journal = _LEVELS_MS, sqlite_in(tmp_path)
    with Fleet(tmp_path, broker.url, namespace, delay_levels_ms=levels, journal=journal) as fleet:
        yield fleet
    await removed(broker, namespace)


def sqlite_in(folder: Path) -> str:
    """The address of a journal in a folder of its own, so that all of its files can be moved."""
    return f"sqlite:///{folder}/journal/journal.db"


async def removed(broker: Broker, namespace: str) -> None:
    """What ``namespace`` leaves behind."""
    names = Names(namespace)
    connection = await aiormq.connect(broker.url)
    channel = await connection.channel()
    for identity in IDENTITIES:
        await channel.queue_delete(names.reply_queue(identity))
    await channel.queue_delete(names.delay(*_LEVELS_MS))
    await channel.exchange_delete(names.delay(*_LEVELS_MS))
    await connection.close()


@pytest.fixture
def private_fleet(private_broker: BrokerNode, tmp_path: Path) -> Generator[Fleet]:
    """The same on a broker that this test may kill."""
    with Fleet(tmp_path, private_broker.url, "chaos") as fleet:
        yield fleet


@pytest.fixture
def private_recording_fleet(private_broker: BrokerNode, tmp_path: Path) -> Generator[Fleet]:
    """The same, whose workers have a journal."""
    journal = sqlite_in(tmp_path)
    with Fleet(tmp_path, private_broker.url, "chaos", journal=journal) as fleet:
        yield fleet
