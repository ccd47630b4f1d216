"""
``python -m benchmarks.spending``: what counting spend, and ceilings, cost a call of a model.

One worker and one client in this process, over ``memory://``, a scripted model that answers at
once, and a journal in an SQLite file. The sides take short turns one after the other:

==================  ============================================================================
``silent``          answers say that they used nothing, so nothing is counted: capability unused
``counted``         tokens and money are written with each record
``ceilings``        the same, and a ceiling per tenant and one for everything are asked
==================  ============================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from effectmq import Client, Worker
from effectmq.protocol import (
    LlmContentBlockText,
    LlmMessage,
    LlmRequestSpec,
    LlmResponse,
    LlmUsage,
    Ok,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectOutcomeLlmCall,
)

_IN_FLIGHT = 50
_REQUEST = LlmRequestSpec(
    model="m",
    messages=[
        LlmMessage(role="User", blocks=[LlmContentBlockText(text="hi", cache_breakpoint=False)])
    ],
    attachments=[],
    tools=[],
    tool_choice="Auto",
)


def _worker(name: str, folder: Path) -> Worker:
    worker = Worker(f"memory://{name}", journal=f"sqlite:///{folder}/{name}.db", log_every=0)
    used = 0 if name == "silent" else 7
    usage = LlmUsage(
        input_tokens=used, output_tokens=used, cached_input_tokens=0, reasoning_tokens=0
    )
    response = LlmResponse(full_text="", parts=[], usage=usage, terminal_reason="stop")
    outcome = RuntimeEffectOutcomeLlmCall(result=Ok(response), text_streamed=False)

    @worker.handler("llm_call")
    async def answer(command: RuntimeEffectCommandLlmCall) -> RuntimeEffectOutcomeLlmCall:
        return outcome

    if name == "ceilings":
        worker.spend_limit(tokens=10**12)
        worker.spend_limit(tokens=10**12, by="tenant", per="day")
    return worker


async def _turn(client: Client, numbers: itertools.count[int], calls: int) -> float:
    async def caller() -> None:
        for _ in range(calls // _IN_FLIGHT):
            turn = client.turn("s", f"t-{next(numbers)}", tenant="acme")
            await turn.llm_call(_REQUEST, timeout=60)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
    return (time.perf_counter() - began) / calls * 1e6


async def _measure(turns: int, calls: int) -> dict[str, float]:
    took: dict[str, list[float]] = {"silent": [], "counted": [], "ceilings": []}
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        for turn in range(turns + 1):
            for name, each in took.items():
                worker = _worker(name, Path(folder))
                async with worker, Client(worker.broker) as client:
                    await _turn(client, numbers, _IN_FLIGHT)
                    us = await _turn(client, numbers, calls)
                if turn:
                    each.append(us)
    return {name: statistics.median(each) for name, each in took.items()}


def main() -> None:
    """Measure, and print a line for each side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spending", description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--calls", type=int, default=1_000, help="of each turn")
    arguments = parser.parse_args()
    found = asyncio.run(_measure(arguments.turns, arguments.calls))
    for name, us in found.items():
        print(f"{name:10} {us:8.0f} µs a call   {us / found['silent'] - 1:+.1%}")


if __name__ == "__main__":
    main()
