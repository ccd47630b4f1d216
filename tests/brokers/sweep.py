"""Removing what one test declared, so that a shared broker stays as fast as it started."""

from __future__ import annotations

import asyncio
import threading

import aiormq

from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import DEFAULT_DELAY_LEVELS_MS, Names

__all__ = ["sweep"]

_SECONDS = 20.0


def sweep(url: str, namespace: str) -> None:
    """
    Delete the exchanges and queues that effectmq declares in a namespace.

    AMQP cannot list queues, so these are the names it would have given; deleting what does not
    exist is no error. Lanes, versions and unusual delay levels stay, and so do reply queues, which
    expire.
    """
    # In a thread, because the test's own event loop may be running, frozen or closed.
    worker = threading.Thread(target=lambda: asyncio.run(_sweep(url, Names(namespace))))
    worker.start()
    worker.join()


async def _sweep(url: str, names: Names) -> None:
    exchanges = [names.work_exchange, names.limbo, names.dead]
    exchanges += [names.delay(level) for level in DEFAULT_DELAY_LEVELS_MS]
    queues = [*exchanges[1:], *(names.work_queue(kind) for kind in EFFECT_KINDS)]
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await aiormq.connect(url)
            try:
                channel = await connection.channel()
                for queue in queues:
                    await channel.queue_delete(queue)
                for exchange in exchanges:
                    await channel.exchange_delete(exchange)
            finally:
                await connection.close()
    except (OSError, TimeoutError):
        return  # the broker is gone, and with it what was to be removed
