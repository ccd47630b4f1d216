"""The same round trip through effectmq: sealed envelope, validated, hashed, run, answered."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count

from effectmq import Client, RuntimeEffectEnvelope, ToolCall, Worker, WorkerSettings
from tests.brokers.sweep import sweep

__all__ = ["EffectmqRequestReply", "RecordedAnswers"]

#: What msgpack needs for everything around the text.
_ENVELOPE_BYTES = 365
#: Recorded effects that are asked for in turn.
_KEPT = 500


class EffectmqRequestReply:
    """
    A client and a worker with one tool; its answer carries the arguments, as outcomes do.

    Without a journal unless one is named: request/reply by hand remembers nothing either.
    """

    def __init__(self, url: str, namespace: str, in_flight: int, journal: str = "none") -> None:
        self._url, self._namespace = url, namespace
        self._client = Client(url, namespace=namespace)
        self._worker = Worker(
            url,
            namespace=namespace,
            settings=WorkerSettings(concurrency=max(in_flight, 1)),
            journal=journal,
        )
        self._numbers = count()
        self._stack = AsyncExitStack()

        @self._worker.tool
        async def measure(text: str) -> int:
            return len(text)

    async def __aenter__(self) -> EffectmqRequestReply:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._worker)
        await self._stack.enter_async_context(self._client)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()
        # Each quorum queue holds open files: leftovers of many runs would starve a small broker.
        await asyncio.to_thread(sweep, self._url, self._namespace)

    def prepare(self, body: bytes) -> RuntimeEffectEnvelope:
        """What the caller has in hand before the round trip: an envelope."""
        turn = self._client.turn(self._namespace, f"turn-{next(self._numbers)}")
        # What counts is the message on the wire: an envelope of as many bytes as the body.
        text = body[_ENVELOPE_BYTES:].decode()
        (envelope,) = turn.tool_envelopes([ToolCall("measure", {"text": text}, "call-1")])
        return envelope

    async def call(self, envelope: RuntimeEffectEnvelope) -> None:
        """One round trip: seal, hash, publish, decode, validate, check, run, answer, match."""
        await self._client.execute(envelope, timeout=120)


class RecordedAnswers(EffectmqRequestReply):
    """The same calls once more: a client that reaches the journal is answered by it."""

    def __init__(self, url: str, namespace: str, in_flight: int, journal: str) -> None:
        super().__init__(url, namespace, in_flight, journal)
        self._client = Client(url, namespace=namespace, journal=journal)
        self._recorded: list[RuntimeEffectEnvelope] = []

    async def __aenter__(self) -> RecordedAnswers:
        await super().__aenter__()
        self._recorded = [super(RecordedAnswers, self).prepare(b"x" * 1024) for _ in range(_KEPT)]
        await asyncio.gather(*(self.call(envelope) for envelope in self._recorded))
        return self

    def prepare(self, body: bytes) -> RuntimeEffectEnvelope:
        """An effect that has been carried out before."""
        return self._recorded[next(self._numbers) % _KEPT]
