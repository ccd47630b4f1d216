"""Taking deliveries from a consumer, and waiting for them to be back, bounded."""

from __future__ import annotations

import asyncio

from effectmq.broker.transports.port import Consumer, Delivery, Transport
from tests.waiting import eventually

__all__ = ["take", "texts", "until_ready"]


async def take(consumer: Consumer, count: int, timeout_s: float = 60.0) -> list[Delivery]:
    """The next deliveries, unsettled; ``TimeoutError`` when there are fewer within the time."""
    deliveries = aiter(consumer)
    async with asyncio.timeout(timeout_s):
        return [await anext(deliveries) for _ in range(count)]


def texts(deliveries: list[Delivery]) -> list[str]:
    """Their bodies as text."""
    return [delivery.message.body.decode() for delivery in deliveries]


async def until_ready(transport: Transport, queue: str, count: int) -> None:
    """Wait until the queue has exactly that many messages to hand out."""

    async def has_them() -> bool:
        stats = await transport.stats(queue)
        return stats is not None and stats.ready == count

    await eventually(has_them)
