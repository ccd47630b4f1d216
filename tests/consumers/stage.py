"""A broker in memory with workers and clients on it, and envelopes to send."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_none

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.handle import Handle
from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.broker.store.journal.choice import ReplayMode
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.memory.broker import MemoryBroker
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.decisions import delivery as lifecycle
from effectmq.consumers.decisions import retry
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.identity import invocations
from effectmq.protocol.messages.dead_letter import DeadLetter, read_dead_letter
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import Reply, read_replies
from effectmq.protocol.topology import Names, TopologySettings
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import RuntimeEffectKind
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.waiting import eventually

__all__ = [
    "AT_ONCE",
    "NAMES",
    "ONCE",
    "PATIENCE_S",
    "TOPOLOGY",
    "Stage",
    "code",
    "effect",
    "gathered",
    "hurry",
    "logged",
    "nap",
    "outcome",
    "payload",
    "staged",
    "tool",
]

TOPOLOGY = TopologySettings(namespace="t", delay_levels_ms=(30, 60, 120), delivery_limit=3)
NAMES = Names("t")

#: Three attempts without waiting.
AT_ONCE = RetryPolicy(stop=stop_after_attempt(3), wait=wait_none())
ONCE = RetryPolicy(stop=stop_after_attempt(1))

#: Bounds everything that a test waits for; nothing is expected to take this long.
PATIENCE_S = 20.0


def effect(
    kind: RuntimeEffectKind, command: RuntimeEffectCommand, effect_id: str, session_id: str = "s1"
) -> RuntimeEffectEnvelope:
    """An envelope of a turn."""
    invocation = invocations.turn_effect(
        kind,
        effect_id,
        session_id=session_id,
        turn_id="t1",
        turn_index=0,
        protocol_iteration=0,
    )
    return RuntimeEffectEnvelope(invocation=invocation, command=command)


def tool(
    name: str, effect_id: str = "1", *, call_id: str = "c1", **args: Any
) -> RuntimeEffectEnvelope:
    """A tool call."""
    call = PreparedToolCall(call_id=call_id, tool_name=name, args=args)
    return effect("tool_call", RuntimeEffectCommandToolCall(call=call), effect_id)


def code(text: str = "", effect_id: str = "1") -> RuntimeEffectEnvelope:
    """A block of code; what the handler of a test makes of the text is its business."""
    return effect("exec_code", RuntimeEffectCommandExecCode(code=text), effect_id)


def nap(duration_ms: int, effect_id: str = "1") -> RuntimeEffectEnvelope:
    """A sleep."""
    return effect("sleep", RuntimeEffectCommandSleep(duration_ms=duration_ms), effect_id)


def payload(outcome: RuntimeEffectOutcome) -> Any:
    """What a tool returned, or its failure."""
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    return outcome.result.output.outcome.payload


class Stage:
    """One broker; everything started on it ends with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.url = f"memory://{secrets.token_hex(6)}"
        self.topology = TOPOLOGY
        self._stack = stack

    @property
    def broker(self) -> MemoryBroker:
        """The broker itself, to look at it and to break it."""
        return MemoryBroker.named(self.url.removeprefix("memory://"))

    def worker(
        self,
        *,
        transport: TransportSettings | None = None,
        journal: str | None = None,
        replay: ReplayMode = "execute",
        attachments: AttachmentStore | str | None = None,
        **settings: Any,
    ) -> EffectWorker:
        """A worker to register things with; not started."""
        return EffectWorker(
            self.url,
            settings=WorkerSettings(**{"kill_grace_s": 0.05, "shutdown_grace_s": 5.0, **settings}),
            topology=self.topology,
            transport=transport,
            name="w",
            journal=journal,
            replay=replay,
            attachments=attachments,
        )

    async def start(
        self, worker: EffectWorker, routes: Iterable[str] | None = None
    ) -> EffectWorker:
        """Start it, and stop it at once when the test is over."""
        await worker.start(routes)
        self._stack.push_async_callback(worker.stop, 0.0)
        return worker

    async def client(self, identity: str | None = None, **options: Any) -> EffectClient:
        """A connected client."""
        client = EffectClient(self.url, identity=identity, topology=self.topology, **options)
        return await self._stack.enter_async_context(client)

    async def transport(self, settings: TransportSettings | None = None) -> MemoryTransport:
        """A connection of the test's own."""
        made = MemoryTransport(self.url, settings or TransportSettings())
        return await self._stack.enter_async_context(made)

    async def publish(self, route: str, message: Message) -> None:
        """Publish what a client would never send."""
        settings = TransportSettings(max_body_bytes=8 * 1024 * 1024)
        await (await self.transport(settings)).publish(NAMES.work_exchange, route, message)

    def connection_of(self, worker: EffectWorker) -> MemoryTransport:
        """The worker's own connection, to break it."""
        running = worker._running
        assert running is not None
        transport = running._transport
        assert isinstance(transport, MemoryTransport)
        return transport

    def letters(self) -> list[DeadLetter]:
        """What is parked."""
        queue = self.broker.queue(NAMES.dead)
        return [read_dead_letter(message, "?") for message in queue.ready] if queue else []

    async def parked(self, count: int = 1) -> list[DeadLetter]:
        """Wait until so many effects are parked, and exactly so many."""
        await eventually(lambda: len(self.letters()) >= count)
        letters = self.letters()
        assert len(letters) == count
        return letters

    def ready(self, queue: str) -> int:
        """How many messages wait in a queue."""
        found = self.broker.queue(queue)
        return len(found.ready) if found else 0

    def unsettled(self, route: str) -> int:
        """How many messages of a route are with workers."""
        found = self.broker.queue(NAMES.work_queue(route))
        return found.unsettled if found else 0

    def answers(self, queue: str) -> list[Reply]:
        """The answers that wait in a reply queue that nobody reads."""
        found = self.broker.queue(queue)
        return (
            [reply for message in found.ready for reply in read_replies(message)] if found else []
        )

    async def idle(self, worker: EffectWorker, route: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a worker has nothing left of a route, waiting or unsettled."""
        await eventually(
            lambda: not self.ready(NAMES.work_queue(route)) and not self.unsettled(route),
            timeout_s,
        )


async def outcome(handle: Handle) -> RuntimeEffectOutcome:
    """An outcome, waited for with patience."""
    return await handle.outcome(PATIENCE_S)


async def gathered(handles: Iterable[Handle]) -> list[Reply]:
    """All answers."""
    return await asyncio.gather(*(handle.reply(PATIENCE_S) for handle in handles))


def hurry(monkeypatch: pytest.MonkeyPatch, limit_ms: int = 10) -> None:
    """Make almost every wait one that goes over a delay level, so that no test takes seconds."""
    monkeypatch.setattr(retry, "IN_PLACE_LIMIT_MS", limit_ms)
    monkeypatch.setattr(lifecycle, "IN_PLACE_LIMIT_MS", limit_ms)


def logged(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    """Log records of one action."""
    return [record for record in caplog.records if getattr(record, "action", "") == action]


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Give a stage whose end is bounded, because hanging is what we test for."""
    async with AsyncExitStack() as stack:
        yield Stage(stack)
        async with asyncio.timeout(PATIENCE_S):
            await stack.aclose()
