"""Effects that stream, read piece by piece, and their outcomes at the end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.stream import Stream
from effectmq.broker.client.turns.turn import Turn
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectFailedError,
    EffectTimeoutError,
    OutcomeFailedError,
    RejectEffectError,
    TransportClosedError,
)
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from tests.protocol.documents import example

WORDS = ["Once", " upon", " a", " time"]
PATIENCE_S = 20.0
#: What hangs on purpose is not waited for at the end.
AT_ONCE = WorkerSettings(shutdown_grace_s=0.5)


@pytest.fixture
def url() -> str:
    return f"memory://{secrets.token_hex(4)}"


@pytest.fixture
async def worker(url: str, tmp_path: Path) -> AsyncIterator[EffectWorker]:
    """Tells its words, one after the other, for every kind that streams."""
    made = EffectWorker(url, settings=AT_ONCE, journal=f"sqlite:///{tmp_path}/j.db")

    async def tell(context: EffectContext) -> None:
        for word in WORDS:
            context.stream(word)
            await asyncio.sleep(0)

    @made.handler("llm_call")
    async def speak(command: Any, context: EffectContext) -> object:
        await tell(context)
        return example("O1")

    @made.handler("direct")
    async def answer(command: Any, context: EffectContext) -> object:
        await tell(context)
        return {**example("O1").model_dump(mode="json"), "type": "direct", "text_streamed": None}

    @made.handler("exec_code")
    async def run(command: Any, context: EffectContext) -> object:
        await tell(context)
        if command.code == "reject":
            raise RejectEffectError("refused", "not this one")
        if command.code == "hang":
            await asyncio.Event().wait()
        return {"type": "exec_code", "result": {"Err": "the end"}}

    async with made:
        yield made


@pytest.fixture
async def turn(url: str, worker: EffectWorker) -> AsyncIterator[Turn]:
    async with asyncio.timeout(PATIENCE_S), EffectClient(url) as client:
        yield client.turn("s", "t")


def request() -> LlmRequestSpec:
    command = example("C1").command
    assert isinstance(command.request, LlmRequestSpec)
    return command.request


async def texts(stream: Stream[Any], seen: list[str] | None = None) -> list[str]:
    """The text of the pieces; in a list that is still there when reading raises."""
    found: list[str] = [] if seen is None else seen
    async for chunk in stream:
        found.append(chunk.text)
    return found


async def test_a_model_is_read_while_it_speaks(turn: Turn) -> None:
    """The pieces in their order, then the outcome of its kind."""
    stream = turn.stream.llm_call(request())
    assert await texts(stream) == WORDS
    outcome = await stream.result()
    assert outcome.type == "llm_call"
    assert outcome.value == "Hello"


async def test_the_number_is_taken_by_the_call(turn: Turn) -> None:
    """However late the stream is read, and whatever is asked meanwhile."""
    stream = turn.stream.exec_code("tell")
    assert turn.invocation("exec_code").effect_id() == "2"
    assert await texts(turn.stream.exec_code("tell", number=9)) == WORDS
    assert await texts(stream) == WORDS


async def test_the_result_can_be_had_without_the_pieces_or_after_some(turn: Turn) -> None:
    """Whoever stops reading leaves nothing behind."""
    assert (await turn.stream.exec_code("tell").result()).failed

    stream = turn.stream.exec_code("tell")
    async for chunk in stream:
        assert chunk.text == WORDS[0]
        break
    outcome = await stream.result()
    with pytest.raises(OutcomeFailedError, match="the end"):
        _ = outcome.value
    assert (await stream.result()) == outcome


async def test_what_is_recorded_has_no_pieces(url: str, turn: Turn) -> None:
    """Only the outcome is on record."""
    assert await texts(turn.stream.exec_code("tell", number=1)) == WORDS
    again = turn.stream.exec_code("tell", number=1)
    assert await texts(again) == []
    assert (await again.result()).failed


async def test_an_error_comes_after_the_last_piece(turn: Turn) -> None:
    """A reader who wants the text only must not take a part of it for the whole."""
    stream = turn.stream.exec_code("reject")
    seen: list[str] = []
    with pytest.raises(EffectFailedError, match="not this one"):
        await texts(stream, seen)
    assert seen == WORDS
    with pytest.raises(EffectFailedError, match="not this one"):
        await stream.result()


async def test_a_time_that_is_over_is_an_error_of_the_reading(turn: Turn) -> None:
    """The time runs from the first piece that is asked for."""
    stream = turn.stream.exec_code("hang", timeout=0.3)
    with pytest.raises(EffectTimeoutError, match=r"0\.3"):
        await texts(stream)
    with pytest.raises(EffectTimeoutError):
        await stream.result()


async def test_a_time_limit_of_the_readers_own_is_the_readers(turn: Turn) -> None:
    """It is not taken for that of the effect."""
    stream = turn.stream.exec_code("hang")
    with pytest.raises(TimeoutError) as over:
        async with asyncio.timeout(0.2):
            await texts(stream)
    assert not isinstance(over.value, EffectTimeoutError)


async def test_a_direct_request_streams_too(turn: Turn) -> None:
    """Its content is its name."""
    assert await texts(turn.stream.direct(request(), usage_source="x")) == WORDS


async def test_a_tool_streams_what_its_function_gives(url: str) -> None:
    """By name for its outcome, by function for its value."""
    worker = EffectWorker(url, journal="none")

    @worker.tool
    async def tell(many: int, context: ToolContext) -> str:
        for word in WORDS[:many]:
            context.stream(word)
            await asyncio.sleep(0)
        return "".join(WORDS[:many])

    @worker.tool
    async def add(a: int, b: int) -> int:
        return a + b

    async with asyncio.timeout(PATIENCE_S), worker, EffectClient(url) as client:
        turn = client.turn("s", "t")
        stream = turn.stream.tool_call("tell", {"many": 2}, call_id="c")
        pieces = await texts(stream)
        assert (await stream.result()).value == "Once upon"
        assert "".join(pieces) == "Once upon"
        called = turn.stream.call(add, 1, b=2)
        assert await texts(called) == []
        assert await called.result() == 3
        assert await turn.with_options(timeout=9, call_id="d").stream(add, 1, 2).result() == 3


async def test_a_stream_has_one_way_to_be_read(turn: Turn, url: str) -> None:
    """Options that streams do not have are refused."""

    @EffectWorker(url).tool
    def add(a: int) -> int:
        return a

    with pytest.raises(ConfigurationError, match="leave on_chunk= and on_progress= out"):
        turn.with_options(on_chunk=print).stream(add, 1)
    streams: Any = turn.stream
    with pytest.raises(TypeError, match=r"exec_code\(\) got an unexpected keyword"):
        streams.exec_code("x", on_chunk=print)
    with pytest.raises(ConfigurationError, match="timeout is -1"):
        streams.exec_code("x", timeout=-1)


async def test_a_client_that_is_not_open_says_so_when_it_is_read(url: str) -> None:
    """Making a stream asks nothing."""
    stream = EffectClient(url).turn("s", "t").stream.exec_code("x")
    with pytest.raises(TransportClosedError, match="the client is not open"):
        await stream.result()


async def test_a_turn_without_a_client_has_no_streams() -> None:
    """It says where they come from."""

    async def execute(envelope: Any, **_: Any) -> Any:
        raise AssertionError("nothing is asked")

    with pytest.raises(ConfigurationError, match=r"use Client\.turn"):
        _ = Turn(execute, "s", "t").stream
