"""Several addresses: whichever works is used, at the start and after every loss."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import AccessRefusedError, BrokerUnreachableError
from tests.broker.transports.stage import FAST, Stage, fetch, publish_surely
from tests.brokers.node import free_ports
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(240)

SHORT = TransportSettings(connect_timeout_s=3.0, reconnect_max_s=0.5)


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}/"


@pytest.fixture
def closed() -> str:
    """An address where nobody listens."""
    return f"amqp://guest:guest@127.0.0.1:{free_ports(1)[0]}/"


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_the_one_that_works_is_found_wherever_it_stands(
    broker: Broker, silent: str, closed: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that swallows everything takes its share of the time, and no more."""
    monkeypatch.setattr("random.randrange", lambda _: first)
    async with open_transport(",".join([silent, closed, broker.url]), SHORT) as transport:
        assert transport.server.startswith("RabbitMQ")


async def test_when_none_works_each_is_named(silent: str, closed: str) -> None:
    """In the time for all of them."""
    with pytest.raises(BrokerUnreachableError) as refused:
        async with RabbitTransport([silent, closed], SHORT):
            pass
    assert "none of 2 addresses" in str(refused.value)
    for url in (silent, closed):
        assert url.rpartition("@")[2].strip("/") in str(refused.value)


async def test_a_wrong_password_at_one_is_not_the_end(broker: Broker, closed: str) -> None:
    """Each address has a login of its own; when nothing else works it is told."""
    wrong = broker.url.replace("//guest:guest@", "//guest:wrong@")
    async with RabbitTransport([wrong, broker.url], SHORT) as transport:
        assert transport.server
    with pytest.raises(AccessRefusedError, match="refused the user name or password") as refused:
        async with RabbitTransport([wrong, closed], SHORT):
            pass
    assert "wrong" not in str(refused.value)


async def test_after_a_loss_the_next_one_takes_over(broker: Broker, namespace: str) -> None:
    """Consumers and publishes go on there, and back again when that one is lost in its turn."""
    stage = Stage(namespace)
    async with ChaosProxy.to(broker.url) as one, ChaosProxy.to(broker.url) as two:
        addresses = [proxy.url(broker.url) for proxy in (one, two)]
        async with RabbitTransport(addresses, FAST) as transport:
            await transport.declare(stage.topology)
            consumer = await transport.consume(stage.queue, prefetch=10)
            for number in range(2):
                used = one if one.connections else two
                used.rst()
                await eventually(lambda: one.connections + two.connections == 2)
                await publish_surely(stage, transport, str(number))
                await fetch(consumer, {str(number)})
                assert not used.connections
                used.pass_through()
            await transport.delete(stage.queue)
            await transport.delete(stage.dead)
