"""
Streamed text through effectmq beside the same model without a broker: ``benchmarks.kinds.llm``.

The model is the scripted one and takes no time, so what is measured is the way, and the way only:
time to the first chunk, chunks a second at the reader, how long a chunk is under way, and how many
got lost (a chunk may; the outcome is whole). The sides take turns, so that a noisy machine is noisy
for all of them, and what is printed are the medians over the turns: one JSON row for each side and
pace. *Flat out* the model says everything at once, which is more than a wire takes; *paced* it says
a word every 10 ms, as a fast model does.
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
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from effectmq import Client, RuntimeEffectEnvelope, Worker
from effectmq.consumers.handler import EffectContext, NotHere, TryAgain
from effectmq.consumers.llm import (
    ConfiguredModel,
    LlmCallHandler,
    ModelCalls,
    ModelSettings,
    ScriptedModel,
)
from effectmq.consumers.llm.script import ScriptRule
from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall
from effectmq.protocol.wire.llm_request import LlmContentBlockText, LlmMessage, LlmRequestSpec
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeLlmCall
from tests.brokers.sweep import sweep

#: In each piece; a token or two.
_PIECE_CHARS = 8
_PACE_S = 0.01


@dataclass(frozen=True)
class Heard:
    """What the reader of one answer saw."""

    first_ms: float
    per_second: float
    lag_ms: float
    lost: int


class Clocked:
    """Notes when each piece left the model and when it reached the reader."""

    def __init__(self, pieces: int) -> None:
        self.said: list[float] = []
        self.heard: dict[int, float] = {}
        self._pieces = pieces
        self._began = time.perf_counter()

    def saw(self, number: int) -> None:
        self.heard[number] = time.perf_counter()

    def result(self) -> Heard:
        times = sorted(self.heard.values())
        lags = [self.heard[number] - self.said[number] for number in self.heard]
        return Heard(
            (times[0] - self._began) * 1_000,
            len(times) / (times[-1] - self._began),
            statistics.median(lags) * 1_000,
            self._pieces - len(times),
        )


class Noting(LlmCallHandler):
    """The handler itself; what it streams is noted on its way out."""

    clock: Clocked | None = None

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeLlmCall | TryAgain | NotHere:
        clock, stream = self.clock, context.stream

        def noting(text: str) -> None:
            if clock is not None:
                clock.said.append(time.perf_counter())
            stream(text)

        noted = EffectContext(
            context.envelope,
            context.effect_id,
            context.attempt,
            context.deadline_ms,
            context.traceparent,
            noting,
        )
        return await super().run(request, noted)


def noting_handler(pieces: int, pause_s: float) -> Noting:
    rule = ScriptRule(
        reply="x" * (_PIECE_CHARS * pieces), piece_chars=_PIECE_CHARS, pause_s=pause_s
    )
    model = ConfiguredModel(ModelSettings(provider="scripted"), ScriptedModel([rule]))
    return Noting(ModelCalls({"m": model}))


def question(client: Client) -> RuntimeEffectEnvelope:
    block = LlmContentBlockText(text="go on", cache_breakpoint=False)
    request = LlmRequestSpec(
        model="m",
        messages=[LlmMessage(role="User", blocks=[block])],
        attachments=[],
        tools=[],
        tool_choice="None",
    )
    return RuntimeEffectEnvelope(
        invocation=client.turn("bench", secrets.token_hex(4)).invocation("llm_call"),
        command=RuntimeEffectCommandLlmCall(request=request),
    )


async def in_process(pieces: int, pause_s: float, answers: int) -> list[Heard]:
    """The same handler and model, called as a function."""
    handler = noting_handler(pieces, pause_s)
    envelope = question(Client("memory://"))
    request = Request.seal(envelope)
    found: list[Heard] = []
    for _ in range(answers + 1):
        clock = handler.clock = Clocked(pieces)
        numbers = iter(range(pieces))
        context = EffectContext(
            envelope, "1", 1, 0, "", lambda text, c=clock, n=numbers: c.saw(next(n))
        )
        await handler.run(request, context)
        found.append(clock.result())
    return found[1:]


async def through(url: str, pieces: int, pause_s: float, answers: int) -> list[Heard]:
    """Client, broker, worker: everything in this process but the broker."""
    async with stage(url, pieces, pause_s) as (client, handler):
        found: list[Heard] = []
        for _ in range(answers + 1):
            envelope = question(client)
            clock = handler.clock = Clocked(pieces)
            handle = await client.submit(envelope)
            async for chunk in handle.chunks():
                clock.saw(chunk.number)
            await handle.outcome(60)
            found.append(clock.result())
        return found[1:]


@asynccontextmanager
async def stage(url: str, pieces: int, pause_s: float) -> AsyncGenerator[tuple[Client, Noting]]:
    namespace = f"bench-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        if not url.startswith("memory:"):
            # Each quorum queue holds open files: leftovers would starve a small broker.
            stack.push_async_callback(asyncio.to_thread, sweep, url, namespace)
        # What is measured is the stream; a record comes after it.
        worker = Worker(url, namespace=namespace, journal="none")
        client = Client(url, namespace=namespace)
        handler = noting_handler(pieces, pause_s)
        worker.add(handler)
        await stack.enter_async_context(worker)
        yield await stack.enter_async_context(client), handler


async def reachable(url: str) -> bool:
    try:
        async with Client(url):
            return True
    except BrokerError as problem:
        print(f"no figures for amqp: {problem}", file=sys.stderr)
        return False


async def one_turn(side: str, url: str, pieces: int, pause_s: float, answers: int) -> list[Heard]:
    if side == "in-process":
        return await in_process(pieces, pause_s, answers)
    return await through(url if side == "amqp" else "memory://", pieces, pause_s, answers)


def row(side: str, pace: str, heard: Iterable[Heard]) -> dict[str, object]:
    runs = list(heard)
    return {
        "side": side,
        "pace": pace,
        "answers": len(runs),
        "first_chunk_ms": round(statistics.median(run.first_ms for run in runs), 3),
        "chunks_per_s": round(statistics.median(run.per_second for run in runs)),
        "chunk_lag_ms": round(statistics.median(run.lag_ms for run in runs), 3),
        "lost": sum(run.lost for run in runs),
    }


async def main(arguments: argparse.Namespace) -> None:
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.answers} answers "
        f"of {arguments.pieces} pieces of {_PIECE_CHARS} characters in each of {arguments.turns} "
        "turns",
        file=sys.stderr,
    )
    sides = ["in-process", "memory"]
    if await reachable(arguments.broker):
        sides.append("amqp")
    for pace, pause_s in (("flat out", 0.0), ("paced", _PACE_S)):
        heard: dict[str, list[Heard]] = {side: [] for side in sides}
        for _ in range(arguments.turns):
            for side in sides:
                heard[side] += await one_turn(
                    side, arguments.broker, arguments.pieces, pause_s, arguments.answers
                )
        for side, runs in heard.items():
            print(json.dumps(row(side, pace, runs)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kinds.llm", description=__doc__)
    parser.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--answers", type=int, default=5, help="in each turn, after a first one")
    parser.add_argument("--pieces", type=int, default=100, help="of one answer")
    asyncio.run(main(parser.parse_args()))
