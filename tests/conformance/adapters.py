"""
What the transport conformance suite needs around each adapter.

An ``Adapter`` makes connections to one broker and can do to them what a network or an operator
does. The AMQP one puts a TCP proxy in front of every connection: losing a line then needs no help
from the adapter under test.
"""

from __future__ import annotations

from typing import Protocol

import aio_pika

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import DEFAULT_SETTINGS, TransportSettings
from effectmq.protocol.topology import Topology
from tests.brokers.proxy import ChaosProxy

__all__ = ["Adapter", "AmqpAdapter", "MemoryAdapter"]


class Adapter(Protocol):
    """One broker, and connections to it."""

    async def connect(self, settings: TransportSettings = DEFAULT_SETTINGS) -> Transport:
        """A new connected transport; closed at the end of the test."""
        ...

    async def declare(self, transport: Transport, topology: Topology) -> None:
        """Declare through the transport, and delete at the end of the test."""
        ...

    def lose_connection(self, transport: Transport) -> None:
        """Break the line of one transport; it may connect again at once."""
        ...

    def stall(self, transport: Transport) -> None:
        """Make the broker silent towards a transport, without breaking its line."""
        ...

    def resume(self, transport: Transport) -> None:
        """End a stall."""
        ...

    async def delete_queue(self, name: str) -> None:
        """Delete a queue, as an operator would."""
        ...

    async def close(self) -> None:
        """Close every transport and delete everything declared."""
        ...


class MemoryAdapter:
    """``memory://`` under a name that no other test uses."""

    def __init__(self, name: str) -> None:
        self._url = f"memory://{name}"
        self._transports: list[MemoryTransport] = []

    async def connect(self, settings: TransportSettings = DEFAULT_SETTINGS) -> Transport:
        """Connect."""
        transport = open_transport(self._url, settings)
        assert isinstance(transport, MemoryTransport)
        self._transports.append(transport)
        return await transport.__aenter__()

    async def declare(self, transport: Transport, topology: Topology) -> None:
        """Declare; the broker goes away with its event loop."""
        await transport.declare(topology)

    def lose_connection(self, transport: Transport) -> None:
        """Use the transport's own hook."""
        assert isinstance(transport, MemoryTransport)
        transport.lose_connection()

    def stall(self, transport: Transport) -> None:
        """Raise an alarm: the only thing for which this broker makes anybody wait."""
        self._transports[0].broker.block()

    def resume(self, transport: Transport) -> None:
        """Clear the alarm."""
        self._transports[0].broker.unblock()

    async def delete_queue(self, name: str) -> None:
        """Delete."""
        self._transports[0].broker.delete_queue(name)

    async def close(self) -> None:
        """Close every transport."""
        for transport in self._transports:
            await transport.__aexit__(None, None, None)


class AmqpAdapter:
    """A real RabbitMQ, through one proxy for each transport."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._proxies: dict[Transport, ChaosProxy] = {}
        self._topology = Topology()

    async def connect(self, settings: TransportSettings = DEFAULT_SETTINGS) -> Transport:
        """Connect through a proxy of its own."""
        proxy = await ChaosProxy.to(self._url).__aenter__()
        transport = open_transport(proxy.url(self._url), settings)
        self._proxies[transport] = proxy
        return await transport.__aenter__()

    async def declare(self, transport: Transport, topology: Topology) -> None:
        """Declare, and remember what to delete, also when it is refused half-way."""
        self._topology |= topology
        await transport.declare(topology)

    def lose_connection(self, transport: Transport) -> None:
        """Reset every socket."""
        self._proxies[transport].cut()

    def stall(self, transport: Transport) -> None:
        """Carry no more bytes."""
        self._proxies[transport].hole()

    def resume(self, transport: Transport) -> None:
        """Carry bytes again."""
        self._proxies[transport].pass_through()

    async def delete_queue(self, name: str) -> None:
        """Delete it over a connection of our own."""
        async with await aio_pika.connect(self._url) as connection:
            await (await connection.channel()).queue_delete(name)

    async def close(self) -> None:
        """Close everything, then delete over a fresh connection: a test may have broken its own."""
        for transport, proxy in self._proxies.items():
            proxy.pass_through()
            await transport.__aexit__(None, None, None)
            await proxy.__aexit__(None, None, None)
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            for queue in self._topology.queues:
                await channel.queue_delete(queue.name)
            for exchange in self._topology.exchanges:
                await channel.exchange_delete(exchange.name)
