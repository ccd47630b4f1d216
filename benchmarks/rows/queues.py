"""How many messages a queue of the broker holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiormq

from benchmarks.sides.spec import Spec

__all__ = ["waiting", "work_queue"]

_WAIT_S = 120.0
_POLL_S = 0.05


def work_queue(spec: Spec) -> str:
    """The queue of a side's requests."""
    kind = "llm_call" if spec.kind == "model" else "tool_call"
    return (
        f"{spec.namespace}.plain.work" if spec.side == "plain" else f"{spec.namespace}.work.{kind}"
    )


def waiting(spec: Spec, enough: Callable[[int], bool]) -> int:
    """
    Wait until so many messages are ready in the queue of requests.

    Raises:
        TimeoutError: When it takes longer than two minutes.
    """
    return asyncio.run(_waiting(spec.broker, work_queue(spec), enough))


async def _waiting(url: str, queue: str, enough: Callable[[int], bool]) -> int:
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel()
        end = time.monotonic() + _WAIT_S
        while True:
            declared = await channel.queue_declare(queue, passive=True)
            count = declared.message_count or 0
            if enough(count):
                return count
            if time.monotonic() > end:
                raise TimeoutError(f"{queue} has {count} messages, and that does not change")
            await asyncio.sleep(_POLL_S)
    finally:
        await connection.close()
