"""A namespace with dead letters in it, on whatever broker a test runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from effectmq.broker.client.turns.turn import ToolCall, Turn
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.protocol.messages.dead_letter import DeadLetter, dead_message
from effectmq.protocol.messages.message import HeaderValue, Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Names, TopologySettings, shared_topology, work_topology
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode, RuntimeEffectEnvelope
from tests.conformance.taking import until_ready

__all__ = ["KINDS", "PARKED_MS", "DeadStage", "dead_stage"]

#: The kinds that have queues; the others are unroutable.
KINDS = ("exec_code", "tool_call")
#: When the first letter was parked; each further one a second later.
PARKED_MS = 1_790_000_000_000


@dataclass(slots=True)
class DeadStage:
    """
    Attributes:
        url: The broker's address.
        transport: A connection.
        topology: The namespace.
        letters: What is under test.
        count: Letters parked so far.
    """

    url: str
    transport: Transport
    topology: TopologySettings
    letters: DeadLetters = field(init=False)
    names: Names = field(init=False)
    turn: Turn = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.letters = DeadLetters(self.transport, self.topology)
        self.names = Names(self.topology.namespace)
        self.turn = Turn(_nobody, "session", "turn")

    def code(self, code: str) -> RuntimeEffectEnvelope:
        """An envelope that runs code."""
        return RuntimeEffectEnvelope(
            invocation=self.turn.invocation("exec_code"),
            command=RuntimeEffectCommandExecCode(code=code),
        )

    def call(self, args: dict[str, Any], call_id: str = "call") -> RuntimeEffectEnvelope:
        """An envelope that calls a tool."""
        return self.turn.tool_envelopes([ToolCall("pay", args, call_id)])[0]

    async def park(
        self,
        envelope: RuntimeEffectEnvelope | None = None,
        *,
        reason: str = "exhausted",
        code: str = "effectmq_exhausted",
        detail: str = "gave up",
        route: str = "",
        reply_to: str = "",
        parked_ms: int | None = None,
        headers: dict[str, HeaderValue] | None = None,
    ) -> Request:
        """Park an effect as a worker does; code of its own when no envelope is given."""
        request = Request.seal(envelope or self.code(f"letter {self.count}"), reply_to=reply_to)
        request.message.headers.update(headers or {})
        letter = dead_message(
            request.message,
            kind=request.kind,
            route=route or request.kind,
            reason=reason,
            code=code,
            detail=detail,
            parked_ms=PARKED_MS + self.count * 1_000 if parked_ms is None else parked_ms,
            parked_by="worker-1",
        )
        self.count += 1
        await self.transport.publish(self.names.dead, f"{request.kind}.{reason}", letter)
        return request

    async def raw(self, message: Message, routing_key: str = "tool_call") -> None:
        """Put something into the dead queue as the broker does."""
        await self.transport.publish(self.names.dead, routing_key, message)

    async def listed(self) -> list[DeadLetter]:
        """All letters."""
        async with self.letters.browse() as found:
            return [letter async for letter in found]

    async def dead(self, count: int) -> None:
        """Wait until so many letters are there and nobody holds any."""
        await until_ready(self.transport, self.names.dead, count)

    async def work(self, route: str, count: int) -> list[Message]:
        """Take so many messages out of a work queue, and make sure that there are no more."""
        queue = self.names.work_queue(route)
        await until_ready(self.transport, queue, count)
        consumer = await self.transport.consume(queue, prefetch=max(1, count))
        messages: list[Message] = []
        async with asyncio.timeout(20):
            while len(messages) < count:
                delivery = await anext(aiter(consumer))
                messages.append(delivery.message)
                delivery.ack()
        await consumer.close()
        return messages


@asynccontextmanager
async def dead_stage(
    url: str, namespace: str, max_length: int | None = None
) -> AsyncGenerator[DeadStage]:
    """A stage with every queue declared; work queues may have a limit."""
    topology = TopologySettings(namespace=namespace, max_length=max_length)
    async with open_transport(url) as transport:
        await transport.declare(shared_topology(topology) | work_topology(topology, KINDS))
        yield DeadStage(url, transport, topology)


async def _nobody(envelope: RuntimeEffectEnvelope, *, timeout: float) -> Any:
    raise AssertionError("the stage only builds envelopes")
