"""The client of effectmq, as a program of yours has it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import count
from typing import Self

from benchmarks.sides.spec import Spec
from effectmq import Client, RuntimeEffectEnvelope, ToolCall
from effectmq.broker.transports import open_transport
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.llm_request import LlmContentBlockText, LlmMessage, LlmRequestSpec

__all__ = ["OurClient", "RecordedClient"]

#: Recorded effects that are asked for in turn.
_KEPT = 200
_FILL_AT_ONCE = 200
_TIMEOUT_S = 600.0
#: How much later effects begin, where that is measured; short, because callers wait for it.
_LATER_S = 0.2


class OurClient:
    """Builds envelopes, submits them and waits for their outcomes."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        recorded = spec.side == "recorded"
        self.client = Client(
            spec.broker,
            namespace=spec.namespace,
            journal=spec.journal if recorded else None,
            attachments=spec.attachments,
            traces="on" if spec.traces else "off",
        )
        self._numbers = count()
        # New in each process, so that a journal of before has none of these effects.
        self._session = f"{spec.namespace}-{time.time_ns()}"
        self._text = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.client)
        # What counts is the message on the wire: as many bytes as plain has in its body.
        around = len(Request.seal(self.prepare()).message.body)
        self._text = "x" * max(0, self.spec.body_bytes - around)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def prepare(self) -> RuntimeEffectEnvelope:
        turn = self.client.turn(self._session, f"turn-{next(self._numbers)}")
        if self.spec.kind == "model":
            return turn.llm_envelope(_question(self._text))
        name = "echo" if self.spec.kind == "echo" else "measure"
        (envelope,) = turn.tool_envelopes([ToolCall(name, {"text": self._text}, "call-1")])
        return envelope

    async def call(self, prepared: RuntimeEffectEnvelope) -> None:
        delay_s = _LATER_S if self.spec.uses == "later" else None
        await self.client.execute(prepared, timeout=_TIMEOUT_S, delay_s=delay_s)

    async def fill(self, count: int) -> None:
        # Not submitted: a client remembers what it asked for, and this may be a million.
        exchange = Names(self.spec.namespace).work_exchange
        async with open_transport(self.spec.broker) as transport:
            for start in range(0, count, _FILL_AT_ONCE):
                sealed = (
                    Request.seal(self.prepare())
                    for _ in range(start, min(count, start + _FILL_AT_ONCE))
                )
                await asyncio.gather(
                    *(transport.publish(exchange, each.kind, each.message) for each in sealed)
                )


class RecordedClient(OurClient):
    """The same effects once more: a client that reaches the journal is answered by it."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._recorded: list[RuntimeEffectEnvelope] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._recorded = [super(RecordedClient, self).prepare() for _ in range(_KEPT)]
        await asyncio.gather(*(self.call(envelope) for envelope in self._recorded))
        return self

    def prepare(self) -> RuntimeEffectEnvelope:
        if not self._recorded:
            return super().prepare()
        return self._recorded[next(self._numbers) % _KEPT]


def _question(text: str) -> LlmRequestSpec:
    return LlmRequestSpec(
        model="m",
        messages=[
            LlmMessage(role="User", blocks=[LlmContentBlockText(text=text, cache_breakpoint=False)])
        ],
        attachments=[],
        tools=[],
        tool_choice="None",
    )
