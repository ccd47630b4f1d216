"""
Whether messages reach their queue: a binding, which AMQP does not show, is tried with a probe.

A probe is an empty message of a type of its own. Where workers consume they settle it without a
word; from an empty queue that nobody consumes it is taken off again at once. Where messages wait
and nobody takes them, nothing is tried.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Literal

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import UnroutableError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.probe import probe
from effectmq.protocol.topology import Binding

__all__ = ["BindingState", "try_binding"]

#: ``astray``: something takes the message, and it is not the queue.
BindingState = Literal["there", "missing", "astray", "untried"]

_PATIENCE_S = 3.0


async def try_binding(transport: Transport, binding: Binding, *, workers: bool) -> BindingState:
    """
    Find out whether a binding is there.

    Args:
        transport: An open one.
        binding: Of an exchange and a queue that exist.
        workers: Whether whoever consumes the queue is a worker, which knows probes.

    Raises:
        EffectmqError: When the broker does not let us.
    """
    stats = await transport.stats(binding.queue)
    if stats is None or (stats.ready and not stats.consumers):
        return "untried"
    if stats.consumers and not workers:
        return "untried"
    sent = probe(secrets.token_bytes(16))
    if stats.consumers:
        return "there" if await _taken(transport, binding, sent) else "missing"
    consumer = await transport.consume(binding.queue, prefetch=1)
    try:
        if not await _taken(transport, binding, sent):
            return "missing"
        async with asyncio.timeout(_PATIENCE_S):
            async for delivery in consumer:
                if delivery.message.body == sent.body:
                    delivery.ack()
                    return "there"
                break
    except TimeoutError:
        return "astray"
    finally:
        await consumer.close()
    return "untried"


async def _taken(transport: Transport, binding: Binding, message: Message) -> bool:
    try:
        await transport.publish(binding.exchange, binding.routing_key, message, timeout=_PATIENCE_S)
    except UnroutableError:
        return False
    return True
