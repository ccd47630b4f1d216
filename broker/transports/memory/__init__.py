"""
The transport inside one process: RabbitMQ as far as the topology uses it.

It is the default, most tests run on it, and it is the reference of the conformance suite.
``MemoryBroker`` is shared by all connections of one name; ``MemoryTransport`` is a connection.
"""

from __future__ import annotations

from effectmq.broker.transports.memory.broker import MemoryBroker, QueueSnapshot
from effectmq.broker.transports.memory.transport import MemoryTransport

__all__ = ["MemoryBroker", "MemoryTransport", "QueueSnapshot"]
