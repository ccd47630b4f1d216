"""The tools of the running workers, as the workers tell each other."""

from __future__ import annotations

import asyncio
import secrets

from effectmq.broker.transports.port import Consumer, Transport
from effectmq.protocol.errors import ProtocolError
from effectmq.protocol.messages.notices.cancel import Able, able_notice, read_notice
from effectmq.protocol.topology import Names

__all__ = ["tools_of_workers"]

_TOOL = "tool "
#: Workers answer at once; a person need not wait for a busy one.
_PATIENCE_S = 0.5
_PREFETCH = 100


async def tools_of_workers(
    transport: Transport, namespace: str, wanted: str, patience_s: float = _PATIENCE_S
) -> set[str]:
    """
    Ask the workers for their tools, in the way of a worker that has just started.

    Args:
        transport: An open transport.
        namespace: The namespace of the workers.
        wanted: When a worker with this tool has answered, no other answer is waited for.
        patience_s: How long to wait for answers, in seconds.

    Returns:
        The names of the tools; none when no worker takes tool calls or answers in time.

    Raises:
        BrokerError: When the broker does not permit to listen, or cannot be used.
    """
    names = Names(namespace)
    stats = await transport.stats(names.work_queue("tool_call"))
    if stats is None or not stats.consumers:
        return set()
    queue = names.control_queue(f"cli-{secrets.token_hex(6)}")
    consumer = await transport.listen(names.control, name=lambda: queue, prefetch=_PREFETCH)
    found: set[str] = set()
    try:
        await transport.publish(names.control, "", able_notice(Able(queue, {}, asks=True)))
        async with asyncio.timeout(patience_s):
            await _hear(consumer, found, wanted)
    except TimeoutError:
        pass
    finally:
        await transport.publish(names.control, "", able_notice(Able(queue, None)))
        await consumer.close()
    return found


async def _hear(consumer: Consumer, found: set[str], wanted: str) -> None:
    async for delivery in consumer:
        delivery.ack()
        try:
            said = read_notice(delivery.message)
        except ProtocolError:
            # Any program may publish there.
            continue
        if isinstance(said, Able):
            found.update(
                each.removeprefix(_TOOL) for each in said.able or () if each.startswith(_TOOL)
            )
        if wanted in found:
            return
