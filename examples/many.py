"""
Many effects, a few at a time, with a progress line; run again, it goes on where it was.

::

    python -m examples.many                                        # all in this process
    EFFECTMQ_BROKER=amqp://localhost python -m examples.many       # with a worker elsewhere
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack

from effectmq import Client, EffectmqError, RuntimeEffectEnvelope, ToolCall, Turn

_COUNT = 200


async def main() -> None:
    """Add many pairs of numbers, and print the sum of all that could be added."""
    async with AsyncExitStack() as stack:
        client = Client()
        if client.broker.startswith("memory:"):
            # Without a server the worker has to be in the same process.
            from examples.worker import app

            await stack.enter_async_context(app)
        await stack.enter_async_context(client)
        turn = client.turn(session_id="example", turn_id="many-1")
        total = failed = 0
        async for result in client.map(additions(turn), in_flight=50, progress=True):
            # One that fails, fails alone.
            total += result.value_or(0)
            failed += result.failed
        print(f"{_COUNT} effects, {failed} failed, sum {total}")


def additions(turn: Turn) -> Iterator[RuntimeEffectEnvelope]:
    """The calls, made one by one as there is room for them."""
    for number in range(_COUNT):
        call = ToolCall("add", {"a": number, "b": 1}, f"add-{number}")
        yield from turn.tool_envelopes([call])


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except EffectmqError as problem:
        sys.exit(f"{problem}")
