"""
What a worker of ours runs: ``effectmq worker benchmarks.sides.app:app``.

The variable ``BENCHMARK_MARKS`` names a file into which it writes, after every so many effects, how
many there were, and what it had used of CPU and of time by then. With ``BENCHMARK_TRACES`` it
makes spans. ``BENCHMARK_USES`` is what it uses besides, see ``spec.Uses``.
"""

from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path

from benchmarks.sides.marks import EVERY, Mark
from effectmq import Worker
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall
from effectmq.protocol.wire.llm_response import LlmResponse, LlmUsage
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeLlmCall

__all__ = ["app"]

if os.environ.get("BENCHMARK_TRACES"):
    import_module("benchmarks.sides.traced")

app = Worker()

_USAGE = LlmUsage(input_tokens=1, output_tokens=1, cached_input_tokens=0, reasoning_tokens=0)
_marks = os.environ.get("BENCHMARK_MARKS")
_done = 0
_YEAR_S = 365 * 86_400.0


@app.tool
async def measure(text: str) -> int:
    """A small result of what may be a long text."""
    if _marks:
        _count(Path(_marks))
    return len(text)


@app.tool
async def echo(text: str) -> str:
    """As much back as was given."""
    return text


@app.handler("llm_call")
async def answer(command: RuntimeEffectCommandLlmCall) -> RuntimeEffectOutcomeLlmCall:
    """A short answer to what may be a long context."""
    response = LlmResponse(
        full_text="ok",
        parts=[],
        usage=_USAGE,
        terminal_reason="stop",
    )
    return RuntimeEffectOutcomeLlmCall(result=Ok(response), text_streamed=False)


match os.environ.get("BENCHMARK_USES"):
    case "limit":
        app.limit("tool_call", key="tool", concurrency=1_000_000)
    case "ceiling":
        app.spend_limit(tokens=10**15, by="session", per="month")
    case "schedule":
        app.schedule("yearly", measure, every_s=_YEAR_S, args={"text": ""}, missed="skip")
    case _:
        pass


def _count(file: Path) -> None:
    global _done
    _done += 1
    if _done % EVERY == 0:
        mark = Mark(_done, time.process_time(), time.perf_counter())
        with file.open("a") as lines:
            lines.write(mark.line() + "\n")
