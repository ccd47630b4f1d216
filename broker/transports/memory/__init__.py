"""
The transport inside one process: RabbitMQ as our topology uses it, without RabbitMQ.

The default, what most tests run on, and the reference for the transport conformance suite.
``MemoryBroker`` is what every connection of one name shares; ``MemoryTransport`` is a connection.
"""

from __future__ import annotations

from effectmq.broker.transports.memory.broker import MemoryBroker, QueueSnapshot
from effectmq.broker.transports.memory.transport import MemoryTransport

__all__ = ["MemoryBroker", "MemoryTransport", "QueueSnapshot"]
