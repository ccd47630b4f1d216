"""
A producer: the effects of one turn of an agent.

::

    python -m examples.producer                                        # all in this process
    EFFECTMQ_BROKER=amqp://localhost python -m examples.producer       # with a worker elsewhere

Run it a second time against the same broker and the same turn: effect ids and replay keys are the
same, because they are made of session, turn and position, not of chance.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from effectmq import Client, EffectmqError, ToolCall
from effectmq.protocol import RuntimeEffectOutcome, canonical_bytes


async def main() -> None:
    """Ask for a few effects and print what came back."""
    async with AsyncExitStack() as stack:
        client = Client()
        if client.broker.startswith("memory:"):
            # Without a server the worker has to be in the same process.
            from examples.worker import app

            await stack.enter_async_context(app)
        await stack.enter_async_context(client)
        turn = client.turn(session_id="example", turn_id="turn-1")

        show(await turn.tool_call("add", {"a": 1, "b": 2}, call_id="call-1"))

        # A batch takes one number together; its calls run side by side.
        calls = [
            ToolCall("echo", {"value": "one"}, "call-2"),
            ToolCall("echo", {"value": "two"}, "call-3"),
            ToolCall("fetch", {"path": "/"}, "call-4"),
        ]
        handles = [await client.submit(envelope) for envelope in turn.tool_envelopes(calls)]
        for handle in handles:
            show(await handle.outcome(timeout=30))

        # A tool that does not exist, and arguments that do not fit, are outcomes as well: the
        # model that asked gets to read what was wrong.
        show(await turn.tool_call("ad", {"a": 1}, call_id="call-5"))

        show(await turn.sleep(duration_s=0.25))


def show(outcome: RuntimeEffectOutcome) -> None:
    """Print an outcome as it travels."""
    print(canonical_bytes(outcome).decode())


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except EffectmqError as problem:
        sys.exit(f"{problem}")
