"""How far effects are, from their handlers to whoever waits, watches or reads the record."""

from __future__ import annotations

import asyncio
import secrets
import threading
from pathlib import Path

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.turn import Turn
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.progress import RecordedProgress
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes.progress import ProgressTeller
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, RetryEffectError
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectEnvelope,
)
from tests.waiting import eventually

DONE = {"type": "exec_code", "result": {"Err": "the end"}}


def envelope(client: EffectClient) -> RuntimeEffectEnvelope:
    turn: Turn = client.turn("s", "t")
    return RuntimeEffectEnvelope(
        invocation=turn.invocation("exec_code"), command=RuntimeEffectCommandExecCode(code="tell")
    )


@pytest.fixture
def url() -> str:
    return f"memory://{secrets.token_hex(4)}"


async def test_a_handle_gives_progress_until_the_outcome(url: str) -> None:
    """One that is told waits until it was seen, so each is seen here."""
    worker, seen = EffectWorker(url), asyncio.Event()

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        for done in range(3):
            context.progress(done, 3, f"part {done}")
            await seen.wait()
            seen.clear()
        return DONE

    async with worker, EffectClient(url) as client:
        handle = await client.submit(envelope(client))
        found: list[Progress] = []
        async with asyncio.timeout(60):
            async for progress in handle.progress():
                found.append(progress)
                seen.set()
        assert found == [Progress(done, 3, f"part {done}") for done in range(3)]
        # Who asks later is told the last, and nothing that is over.
        assert [each async for each in handle.progress()] == [Progress(2, 3, "part 2")]


async def test_the_last_one_is_told_when_the_attempt_ends(url: str) -> None:
    """Also of a hundred thousand, of which few are sent."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        for done in range(100_000):
            context.progress(done, 100_000)
        return DONE

    async with worker, EffectClient(url) as client:
        handle = await client.submit(envelope(client))
        async with asyncio.timeout(60):
            found = [progress async for progress in handle.progress()]
            await handle.outcome()
        assert found[-1] == Progress(99_999, 100_000)
        assert worker.counters["chunks"] < 100


async def test_progress_comes_beside_text_in_one_order(url: str) -> None:
    """Numbers have no gap; both functions are called, as they came."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.stream("a")
        context.progress(1, 2)
        context.stream("b")
        return DONE

    told: list[object] = []

    async def later(progress: Progress) -> None:
        await asyncio.sleep(0)
        told.append(progress)

    async def piece(chunk: Chunk) -> None:
        await asyncio.sleep(0)
        told.append((chunk.number, chunk.text))

    async with worker, EffectClient(url) as client:
        turn = client.turn("s", "t")
        await turn.exec_code("tell", on_chunk=piece, on_progress=later)
        assert told == [(0, "a"), (1, ""), Progress(1, 2), (2, "b")]
        told.clear()
        await turn.exec_code("tell", on_chunk=piece)
        assert told == [(0, "a"), (1, ""), (2, "b")]
        told.clear()
        await turn.exec_code("tell", on_progress=told.append)
        assert told == [Progress(1, 2)]
        stream = client.stream(envelope(client))
        assert [chunk.progress async for chunk in stream] == [None, Progress(1, 2), None]


async def test_another_attempt_begins_anew(url: str) -> None:
    """It is told apart by its number."""
    worker = EffectWorker(url)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.progress(5 - context.attempt, 9)
        if context.attempt == 1:
            raise RetryEffectError("once more", after_s=0)
        return DONE

    found: list[Progress] = []
    async with worker, EffectClient(url) as client:
        handle = await client.submit(envelope(client))
        async with asyncio.timeout(60):
            await handle.outcome(on_chunk=lambda chunk: None, on_progress=found.append)
    assert found == [Progress(4, 9, "", 1), Progress(3, 9, "", 2)]


async def test_a_tool_in_a_thread_tells_it_too(url: str) -> None:
    """It is no coroutine, and may have threads of its own."""
    worker = EffectWorker(url)

    @worker.tool
    def index(context: ToolContext, pages: int) -> int:
        def work(page: int) -> None:
            context.progress(page, pages)

        threads = [threading.Thread(target=work, args=(page,)) for page in range(pages)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        context.progress(pages, pages, "indexed")
        return pages

    found: list[Progress] = []
    async with worker, EffectClient(url) as client:
        turn = client.turn("s", "t")
        async with asyncio.timeout(60):
            outcome = await turn.tool_call(
                "index", {"pages": 8}, call_id="c", on_progress=found.append
            )
    assert outcome.value == 8
    assert found[-1] == Progress(8, 8, "indexed")


async def test_what_is_no_progress_fails_where_it_is_told(url: str) -> None:
    """The handler gets the sentence, and may go on."""
    worker = EffectWorker(url)
    told: list[str] = []

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        try:
            context.progress(float("nan"))
        except ConfigurationError as problem:
            told.append(str(problem))
        return DONE

    async with worker, EffectClient(url) as client:
        await client.execute(envelope(client))
    assert told == ["the done of progress is nan; expected a number"]


async def test_nothing_is_told_of_an_attempt_that_is_over() -> None:
    """Nor does it count among those that tell something."""
    told: list[Progress] = []
    telling: set[ProgressTeller] = set()
    teller = ProgressTeller(asyncio.get_running_loop(), told.append, telling)
    teller.note(Progress(1))
    assert telling == {teller}
    teller.note(Progress(2))
    teller.end()
    teller.note(Progress(3))
    teller.end()
    assert told == [Progress(1), Progress(2)]
    assert not telling


async def test_the_first_word_of_a_thread_that_outlives_its_attempt_is_told_to_nobody(
    url: str,
) -> None:
    worker, left = EffectWorker(url), list[EffectContext]()

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        left.append(context)
        return DONE

    async with worker, EffectClient(url) as client:
        handle = await client.submit(envelope(client))
        await handle.outcome(60)
        sent = worker.counters["chunks"]
        await asyncio.to_thread(left[0].progress, 1, 2)
        another = await client.execute(
            envelope(client).model_copy(
                update={"invocation": client.turn("s", "t2").invocation("exec_code")}
            )
        )
        assert another.result.err == "the end"
        assert worker.counters["chunks"] == sent


async def test_a_thread_that_outlives_the_loop_is_not_disturbed() -> None:
    """A handler that was abandoned still runs when the process ends."""
    loop = asyncio.new_event_loop()
    loop.close()
    teller = ProgressTeller(loop, lambda progress: None, set())
    await asyncio.to_thread(teller.note, Progress(1))


async def test_the_last_one_is_on_the_record(url: str, tmp_path: Path) -> None:
    """While the effect runs, and when it has ended; with the attempt that said it."""
    journal = f"sqlite:///{tmp_path / 'j.db'}"
    worker, go_on = EffectWorker(url, journal=journal), asyncio.Event()

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        context.progress(1, 3, "first")
        await go_on.wait()
        context.progress(3, 3, "last")
        return DONE

    async with worker, EffectClient(url) as client, open_archive(journal) as archive:

        async def recorded() -> RecordedProgress | None:
            found = await archive.progress(await archive.find())
            return found[0] if found else None

        handle = await client.submit(envelope(client))
        async with asyncio.timeout(60):
            await eventually(recorded)
            found = await recorded()
            assert found is not None
            assert found.progress == Progress(1, 3, "first")
            go_on.set()
            await handle.outcome()
        found = await recorded()
        assert found is not None
        assert found.progress == Progress(3, 3, "last")
        (effect,) = await archive.find()
        assert found.fence == effect.fence


async def test_an_effect_that_tells_nothing_has_nothing_of_it(url: str, tmp_path: Path) -> None:
    """No row, no timer, nothing to send."""
    journal = f"sqlite:///{tmp_path / 'j.db'}"
    worker = EffectWorker(url, journal=journal)

    @worker.handler("exec_code")
    async def tell(command: object, context: EffectContext) -> object:
        return DONE

    async with worker, EffectClient(url) as client, open_archive(journal) as archive:
        handle = await client.submit(envelope(client))
        async with asyncio.timeout(60):
            assert [each async for each in handle.progress()] == []
        assert await archive.progress(await archive.find()) == [None]
        assert worker.counters["chunks"] == 0
