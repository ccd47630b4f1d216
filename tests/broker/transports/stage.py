"""One exchange with one queue, and counting what goes in and comes out of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from effectmq.broker.transports.port import Consumer, Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import BrokerError, PublishError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Binding, Exchange, Queue, Topology

__all__ = ["ATTENTIVE", "FAST", "Stage", "fetch", "publish_surely"]

#: Does not wait long to come back.
FAST = TransportSettings(reconnect_max_s=0.5, publish_timeout_s=20.0)
#: Notices a dead line within ten seconds, and a busy machine may pass for one.
ATTENTIVE = replace(FAST, heartbeat_s=2)


class Stage:
    """
    Names and topology of one test.

    Args:
        namespace: Prefix of the names.
        quorum: Whether the queue survives the broker, and counts deliveries.
        delivery_limit: Of a quorum queue.
    """

    key = "k"

    def __init__(self, namespace: str, *, quorum: bool = False, delivery_limit: int = 20) -> None:
        self.exchange = self.queue = f"{namespace}.work"
        self.dead = f"{namespace}.dead"
        self.topology = Topology(
            (Exchange(self.exchange, "direct"), Exchange(self.dead, "fanout")),
            (self._queue(quorum, delivery_limit), Queue(self.dead, {"x-queue-type": "classic"})),
            (
                Binding(self.exchange, self.queue, self.key),
                Binding(self.dead, self.dead, ""),
            ),
        )

    def _queue(self, quorum: bool, delivery_limit: int) -> Queue:
        if not quorum:
            return Queue(self.queue, {"x-queue-type": "classic"})
        return Queue(
            self.queue,
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": delivery_limit,
                "x-dead-letter-exchange": self.dead,
            },
        )

    async def publish(self, transport: Transport, text: str, timeout: float | None = None) -> None:
        """Publish one message to the queue."""
        await transport.publish(
            self.exchange, self.key, Message(body=text.encode()), timeout=timeout
        )


async def publish_surely(stage: Stage, transport: Transport, text: str) -> int:
    """Publish until it is confirmed, and give how often that took; only our errors are passed."""
    tries = 0
    while True:
        tries += 1
        try:
            await stage.publish(transport, text)
            return tries
        except (PublishError, BrokerError):
            await asyncio.sleep(0.02)


async def fetch(consumer: Consumer, expected: set[str], timeout_s: float = 30.0) -> Counter[str]:
    """Take and settle until everything expected has arrived; how often each of it came."""
    received: Counter[str] = Counter()
    if expected:
        async with asyncio.timeout(timeout_s):
            async for delivery in consumer:
                delivery.ack()
                received[delivery.message.body.decode()] += 1
                if expected <= received.keys():
                    break
    return received
