"""Which tools the workers have that run at the moment, by what they tell each other."""

from __future__ import annotations

import asyncio
import secrets

from effectmq.broker.transports.port import Consumer, Transport
from effectmq.protocol.errors import ProtocolError
from effectmq.protocol.messages.cancel_notice import Able, able_notice, read_notice
from effectmq.protocol.topology import Names

__all__ = ["tools_of_workers"]

_TOOL = "tool "
#: Workers answer at once; a busy one is not worth more of somebody's time.
_PATIENCE_S = 0.5
_PREFETCH = 100


async def tools_of_workers(
    transport: Transport, namespace: str, wanted: str, patience_s: float = _PATIENCE_S
) -> set[str]:
    """
    Ask the workers, as a newcomer among them would, and take leave again.

    Args:
        transport: An open one.
        namespace: Of the workers.
        wanted: When a worker has this tool, nobody else is waited for.
        patience_s: How long to wait for answers, in seconds.

    Returns:
        The names that were heard of, none when no worker takes tool calls or answers in time.

    Raises:
        BrokerError: When the broker does not let us listen.
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
            # Anybody may write there.
            continue
        if isinstance(said, Able):
            found.update(
                each.removeprefix(_TOOL) for each in said.able or () if each.startswith(_TOOL)
            )
        if wanted in found:
            return
