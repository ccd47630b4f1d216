"""
``python -m benchmarks.tools``: a tool call through effectmq beside the same function called here.

The direct side validates the arguments and calls the function, in this process. effectmq adds the
envelope, the broker, a worker, the outcome, and with a journal its record. Both take turns, and
what is printed are the medians over the turns, as JSON rows, one for each broker and journal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from effectmq import Client, EffectContext, ToolCall, Worker
from effectmq.consumers.tools.functions import tool_from
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from tests.brokers.sweep import sweep

ARGS = {"words": ["effect", "queue"], "times": 3}
WARMING = 20

Call = Callable[[int], Awaitable[None]]


async def repeat(words: list[str], times: int = 1) -> dict[str, int]:
    """Count words; as much work as calling it is."""
    return dict.fromkeys(words, times)


@asynccontextmanager
async def direct() -> AsyncIterator[Call]:
    """The function behind its arguments' validation, and nothing else."""
    tool = tool_from(repeat)
    turn = Client("memory://").turn("bench", "direct")
    (envelope,) = turn.tool_envelopes([ToolCall("repeat", ARGS, "call-1")])
    context = EffectContext(envelope, "1:call-1", 1, 0, "")

    async def call(number: int) -> None:
        await tool.invoke(ARGS, context)

    yield call


@asynccontextmanager
async def through_effectmq(broker: str, journal: str) -> AsyncIterator[Call]:
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


async def latencies_ms(call: Call, count: int) -> list[float]:
    """How long each of so many calls takes, the first few left out."""
    taken: list[float] = []
    for number in range(count + WARMING):
        started = time.perf_counter()
        await call(number)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken[WARMING:]


async def compare(broker: str, journal: str, count: int, turns: int) -> dict[str, object]:
    """One row."""
    medians: dict[str, list[float]] = {"direct": [], "effectmq": []}
    for _ in range(turns):
        async with direct() as call:
            medians["direct"].append(statistics.median(await latencies_ms(call, count)))
        async with through_effectmq(broker, journal) as call:
            medians["effectmq"].append(statistics.median(await latencies_ms(call, count)))
    plain, ours = (statistics.median(medians[side]) for side in ("direct", "effectmq"))
    return {
        "what": "tool call",
        "broker": broker.partition(":")[0],
        "journal": journal.partition(":")[0],
        "direct_p50_ms": round(plain, 4),
        "effectmq_p50_ms": round(ours, 2),
        "added_ms": round(ours - plain, 2),
    }


async def main(arguments: argparse.Namespace) -> None:
    """All rows."""
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, one call at a time, "
        f"{arguments.turns} turns of {arguments.calls} calls each",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder:
        for broker in ("memory://", arguments.broker):
            for journal in ("none", f"sqlite:///{folder}/{secrets.token_hex(3)}.db"):
                row = await compare(broker, journal, arguments.calls, arguments.turns)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tools", description=__doc__)
    parser.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--calls", type=int, default=300)
    asyncio.run(main(parser.parse_args()))
