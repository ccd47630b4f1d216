"""
Ask the broker what it would permit, without doing it.

RabbitMQ has no question for that. Each function makes a request that cannot succeed, but in which
RabbitMQ looks at the permission first: when the answer is that the rest is wrong, it is permitted.
The answer usually closes the channel, so each wants one of its own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import aiormq
import aiormq.abc

from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel
from effectmq.broker.transports.rabbitmq.driver.errors import channel_error
from effectmq.broker.transports.rabbitmq.driver.refused import Operation
from effectmq.protocol.errors import BrokerError
from effectmq.protocol.topology import Binding

__all__ = ["try_bind", "try_consume", "try_exchange", "try_publish", "try_queue"]

_ANSWER_S = 3.0
_PRECONDITION_FAILED = 406
#: RabbitMQ accepts this neither as a message's time to live nor as a consumer's priority.
_NO_NUMBER = "none"


async def try_publish(channel: Channel, exchange: str, routing_key: str) -> None:
    """
    Ask whether a publish would be permitted.

    RabbitMQ looks at the message's time to live after the permissions, so that a wrong one closes
    the channel and nothing is published. Up to 3.13 it looks at topic permissions before that, too.

    Raises:
        BrokerError: When it would be refused, or there is no such exchange.
    """
    doing = f"publishing for {routing_key!r}" if exchange else "publishing to reply queues"
    doing += f" on exchange {exchange!r}" if exchange else " on the default exchange"
    properties = aiormq.spec.Basic.Properties(expiration=_NO_NUMBER)
    await channel.ask(
        lambda library: library.basic_publish(
            b"", exchange=exchange, routing_key=routing_key, properties=properties
        ),
        doing,
        "publish",
    )
    await asyncio.wait((channel.lost,), timeout=_ANSWER_S)
    if channel.close_code not in (0, _PRECONDITION_FAILED):
        raise channel_error(channel.close_code, channel.reason, doing, "publish")


async def try_consume(channel: Channel, queue: str) -> None:
    """
    Ask whether consuming would be permitted.

    Raises:
        BrokerError: When it would be refused, or there is no such queue.
    """

    async def nothing(_: aiormq.abc.DeliveredMessage) -> None:
        """The library requires a callback; nothing is delivered."""

    await _tried(
        channel,
        lambda library: library.basic_consume(queue, nothing, arguments={"x-priority": _NO_NUMBER}),
        f"consuming from {queue!r}",
        "consume",
    )


async def try_exchange(channel: Channel, exchange: str) -> None:
    """
    Ask whether declaring an exchange would be permitted; nothing is declared.

    The name of its alternate exchange is a number. RabbitMQ finds that out after it has looked at
    the permission, and before it makes anything.

    Raises:
        BrokerError: When it would be refused.
    """
    await _tried(
        channel,
        lambda library: library.exchange_declare(
            exchange, durable=True, arguments={"alternate-exchange": 0}
        ),
        f"declaring exchange {exchange!r}",
        "declare",
    )


async def try_queue(channel: Channel, queue: str) -> None:
    """
    Ask whether declaring a queue would be permitted, in the way of ``try_exchange``.

    Raises:
        BrokerError: When it would be refused.
    """
    await _tried(
        channel,
        lambda library: library.queue_declare(
            queue, durable=True, arguments={"x-dead-letter-exchange": 0}
        ),
        f"declaring queue {queue!r}",
        "declare",
    )


async def try_bind(channel: Channel, binding: Binding) -> None:
    """
    Ask whether binding would be permitted, by taking away a binding that nobody has.

    Raises:
        BrokerError: When it would be refused, or one of the two does not exist.
    """
    key = f"{binding.routing_key}.{uuid.uuid4()}"
    await channel.ask(
        lambda library: library.queue_unbind(binding.queue, binding.exchange, routing_key=key),
        f"binding queue {binding.queue!r} to exchange {binding.exchange!r}",
        "bind",
    )


async def _tried(
    channel: Channel,
    request: Callable[[aiormq.Channel], Awaitable[object]],
    doing: str,
    operation: Operation,
) -> None:
    try:
        await channel.ask(request, doing, operation)
    except BrokerError:
        # Another answer than that the request itself is wrong.
        if channel.close_code != _PRECONDITION_FAILED:
            raise
