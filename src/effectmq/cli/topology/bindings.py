"""
Whether a binding exists. AMQP does not show bindings, so a probe is sent through it.

A probe is an empty message of a type of its own. Workers acknowledge it silently. From an empty
queue without consumers it is taken off again at once. Where messages wait and there is no consumer,
no probe is sent.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Literal

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import UnroutableError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.probe import probe
from effectmq.protocol.topology import Binding

__all__ = ["BindingState", "try_binding"]

#: ``astray``: the probe was taken, but did not reach the queue.
BindingState = Literal["there", "missing", "astray", "untried"]

_PATIENCE_S = 3.0


async def try_binding(transport: Transport, binding: Binding, *, workers: bool) -> BindingState:
    """
    Find out whether a binding is there.

    Args:
        transport: An open transport.
        binding: The binding; its exchange and its queue exist.
        workers: Whether the consumers of the queue are workers, which know probes.

    Raises:
        EffectmqError: When the broker refuses, or does not answer.
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
