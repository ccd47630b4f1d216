"""Text that is streamed while an effect runs, from the handler to whoever waits."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.turn import Turn
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes.chunks import ChunkOutbox
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import EffectTimeoutError, RetryEffectError
from effectmq.protocol.messages.chunk import CHUNK_TYPE, Chunk
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectEnvelope,
)
from tests.waiting import eventually

WORDS = ["Once", " upon", " a", " time"]
DONE = {"type": "exec_code", "result": {"Err": "the end"}}


def envelope(client: EffectClient) -> RuntimeEffectEnvelope:
    turn: Turn = client.turn("s", "t")
    return RuntimeEffectEnvelope(
        invocation=turn.invocation("exec_code"), command=RuntimeEffectCommandExecCode(code="tell")
    )


@pytest.fixture
def url() -> str:
    return f"memory://{secrets.token_hex(4)}"


async def test_streamed_text_arrives_numbered_before_the_outcome(url: str) -> None:
    """Chunks are numbered from 0, tagged with the attempt, and end with the outcome."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        for word in WORDS:
            context.stream(word)
            await asyncio.sleep(0)
        return DONE

    async with worker, EffectClient(url) as client:
        handle = await client.submit(envelope(client))
        async with asyncio.timeout(30):
            chunks = [chunk async for chunk in handle.chunks()]
        assert [chunk.text for chunk in chunks] == WORDS
        assert [(chunk.attempt, chunk.number) for chunk in chunks] == [(1, n) for n in range(4)]
        assert (await handle.outcome(10)).type == "exec_code"
    assert worker.counters["chunks"] == len(WORDS)


async def test_a_second_attempt_starts_the_text_again(url: str) -> None:
    """A reader sees by the attempt that what it has shown is void."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.stream(f"attempt {context.attempt}")
        if context.attempt == 1:
            raise RetryEffectError("once more", after_s=0)
        return DONE

    async with worker, EffectClient(url) as client:
        handle = await client.submit(envelope(client))
        async with asyncio.timeout(30):
            found = [(chunk.attempt, chunk.number, chunk.text) async for chunk in handle.chunks()]
    assert found == [(1, 0, "attempt 1"), (2, 0, "attempt 2")]


async def test_a_turn_reads_along_while_it_waits(url: str) -> None:
    """With a function or a coroutine function; the outcome comes after the last piece."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        for word in WORDS:
            context.stream(word)
        return DONE

    found: list[str] = []

    async def later(chunk: Chunk) -> None:
        await asyncio.sleep(0)
        found.append(chunk.text)

    async with worker, EffectClient(url) as client:
        turn = client.turn("s", "t")
        outcome = await turn.exec_code("tell", on_chunk=lambda chunk: found.append(chunk.text))
        assert outcome.failed
        await turn.exec_code("tell", on_chunk=later, timeout=None)
    assert found == [*WORDS, *WORDS]


async def test_who_reads_along_waits_no_longer_than_it_says(url: str) -> None:
    """And an error of its own, even a timeout, is its own."""
    worker = EffectWorker(url)
    hold = asyncio.Event()

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.stream("one")
        await hold.wait()
        return DONE

    def fail(chunk: Chunk) -> None:
        raise TimeoutError("mine")

    async with worker, EffectClient(url) as client:
        turn = client.turn("s", "t")
        found: list[Chunk] = []
        with pytest.raises(EffectTimeoutError, match=r"within 0\.2 s"):
            await turn.exec_code("tell", on_chunk=found.append, timeout=0.2)
        with pytest.raises(TimeoutError, match=r"^mine$"):
            await turn.exec_code("tell", on_chunk=fail)
        hold.set()


async def test_text_that_nobody_waits_for_is_dropped_and_counted(url: str) -> None:
    """A producer that went away must not fill its own memory when it comes back."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.stream("to nobody")
        return DONE

    async with worker, EffectClient(url) as client:
        await client.submit(envelope(client))
        await eventually(lambda: client.counters["unclaimed"] == 1)
        assert client.counters["chunks_unread"] == 1


async def test_text_that_cannot_be_sent_is_dropped_and_the_outcome_is_whole(url: str) -> None:
    """Streaming is lossy by contract and never fails its effect."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.stream("\ud800")
        return DONE

    async with worker, EffectClient(url) as client:
        outcome = await client.execute(envelope(client))
        assert outcome.type == "exec_code"
        await eventually(lambda: worker.counters["chunks_dropped"] == 1)


async def test_only_so_many_pieces_are_under_way_at_a_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing grows without bound, however fast a handler talks."""
    monkeypatch.setattr("effectmq.consumers.outboxes.chunks._MAX_UNDER_WAY", 10)
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        for _ in range(25):
            context.stream("word")
        return DONE

    async with worker, EffectClient(url) as client:
        await client.execute(envelope(client))
    assert worker.counters["chunks_dropped"] == 15


async def test_an_unreadable_chunk_is_counted_and_the_client_goes_on(url: str) -> None:
    """Anybody who may write to the default exchange can send this."""
    async with EffectWorker(url) as worker, EffectClient(url, identity="me") as client:
        assert isinstance(worker, EffectWorker)
        transport = client._transport
        assert transport is not None
        queue = Names(client.topology.namespace).reply_queue("me")
        await transport.publish("", queue, Message(body=b"\xc1", type=CHUNK_TYPE))
        await eventually(lambda: client.counters["unreadable"] == 1)
        assert (await client.turn("s", "t").sleep(duration_s=0.001)).type == "sleep"


async def test_leaving_stops_what_is_still_being_sent(url: str) -> None:
    """A worker that goes does not wait for text that may get lost anyway."""
    async with EffectClient(url) as client:
        transport = client._transport
        assert transport is not None
        outbox = ChunkOutbox(transport, client.counters, lambda identity: False)
        outbox.abort()
        assert client.counters["chunks"] == 0
