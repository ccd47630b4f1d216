"""
A tool call through effectmq beside the same function called here: ``benchmarks.kinds.tools``.

The direct side validates the arguments and calls the function, in this process. effectmq adds the
envelope, the broker, a worker, the outcome, and with a journal its record. Both take turns, and
what is printed are the medians over the turns, as JSON rows, one for each broker and journal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from benchmarks.one_at_a_time import Once, added, options, places, print_row
from effectmq import Client, EffectContext, ToolCall, Worker
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from tests.brokers.sweep import sweep

ARGS = {"words": ["effect", "queue"], "times": 3}


async def repeat(words: list[str], times: int = 1) -> dict[str, int]:
    """Count words; as much work as calling it is."""
    return dict.fromkeys(words, times)


@asynccontextmanager
async def direct() -> AsyncGenerator[Once]:
    """The function behind its arguments' validation, and nothing else."""
    tool = tool_from(repeat)
    turn = Client("memory://").turn("bench", "direct")
    (envelope,) = turn.tool_envelopes([ToolCall("repeat", ARGS, "call-1")])
    context = EffectContext(envelope, "1:call-1", 1, 0, "")

    async def call(number: int) -> None:
        await tool.invoke(ARGS, context)

    yield call


@asynccontextmanager
async def through_effectmq(broker: str, journal: str) -> AsyncGenerator[Once]:
    """A client and a worker in this process, on a broker."""
    namespace = f"bench-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        worker = Worker(broker, namespace=namespace, journal=journal)
        worker.tool(repeat)
        await stack.enter_async_context(worker)
        client = await stack.enter_async_context(Client(broker, namespace=namespace))

        async def call(number: int) -> None:
            turn = client.turn(namespace, f"turn-{number}")
            outcome = await turn.tool_call("repeat", ARGS, call_id="call-1")
            assert isinstance(outcome, RuntimeEffectOutcomeToolCall)

        yield call
    if broker.startswith("amqp"):
        await asyncio.to_thread(sweep, broker, namespace)


async def main(arguments: argparse.Namespace) -> None:
    """All rows."""
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, one call at a time, "
        f"{arguments.turns} turns of {arguments.calls} calls each",
        file=sys.stderr,
    )
    for broker, journal in places(arguments.broker, without="none"):
        ours = partial(through_effectmq, broker, journal)
        print_row(
            {
                "what": "tool call",
                "broker": broker.partition(":")[0],
                "journal": journal.partition(":")[0],
                **await added(direct, ours, arguments.calls, arguments.turns, digits=4),
            }
        )


if __name__ == "__main__":
    asyncio.run(main(options("benchmarks.kinds.tools", __doc__, "calls", 300).parse_args()))
