"""What a worker counts, and what ceilings keep it from doing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client, EffectContext, EffectFailedError, RetryEffectError, ToolContext, Worker
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.dead_letters.filter import DeadFilter
from effectmq.broker.store.admission.store import LimitDesk
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.ceilings import Ceiling
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import Sums
from effectmq.broker.transports import open_transport
from effectmq.protocol import LlmContentBlockText, LlmMessage, LlmRequestSpec
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall
from effectmq.protocol.wire.llm_response import LlmResponse, LlmUsage
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeLlmCall
from tests.waiting import eventually

PATIENCE_S = 30.0
#: Four words in, three out.
SAID = LlmMessage(
    role="User", blocks=[LlmContentBlockText(text="what is the price", cache_breakpoint=False)]
)
TABLE: Mapping[str, Any] = {
    "priced": {
        "provider": "scripted",
        "script": [{"reply": "two dollars fifty"}],
        "price": {"input": 2, "output": "10"},
    },
    "own": {"provider": "scripted", "script": [{"reply": "two dollars fifty"}]},
}
#: 4 · 2 $ + 3 · 10 $ for a million.
NANOS = 38_000
ONE = Sums(1, 4, 3, 0, NANOS, 0)


def asked(model: str = "priced") -> LlmRequestSpec:
    """A request to a scripted model."""
    return LlmRequestSpec(
        model=model, messages=[SAID], attachments=[], tools=[], tool_choice="Auto"
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test."""
    return f"sqlite:///{tmp_path / 'journal.db'}"


@pytest.fixture
def worker(url: str, tmp_path: Path) -> Worker:
    """A worker with two scripted models, that has not started."""
    made = Worker(f"memory://{tmp_path.name}", journal=url, delay_levels_s=[0.1, 1.1])
    made.models(TABLE)
    return made


async def book_of(url: str, look: Callable[[SpendBook], Any]) -> Any:
    """Something out of the book."""
    async with open_archive(url) as archive:
        return await look(SpendBook(archive.database))


async def spent(url: str, by: Any = "all") -> dict[str, Sums]:
    found: list[SpendRow] = await book_of(url, lambda book: book.by(by))
    return {row.name: row.sums for row in found}


async def test_calls_are_counted_with_their_prices(worker: Worker, url: str) -> None:
    """By tenant, session and model; an answer from the record is counted no second time."""
    async with worker, Client(worker.broker) as client:
        for session, tenant, model in (
            ("s1", "acme", "priced"),
            ("s1", "acme", "own"),
            ("s2", None, "priced"),
        ):
            turn = client.turn(session, model, tenant=tenant)
            await turn.llm_call(asked(model), timeout=PATIENCE_S)
        again = client.turn("s1", "priced", tenant="another")
        await again.llm_call(asked(), timeout=PATIENCE_S)
        await client.turn("s2", "d").direct(asked(), usage_source="test", timeout=PATIENCE_S)
    unpriced = Sums(1, 4, 3, 0, 0, 1)
    assert await spent(url, "tenant") == {"acme": ONE.plus(unpriced), "": ONE.plus(ONE)}
    assert await spent(url, "session") == {"s1": ONE.plus(unpriced), "s2": ONE.plus(ONE)}
    assert await spent(url, "model") == {"priced": ONE.plus(ONE).plus(ONE), "own": unpriced}
    cost = {
        reading.labels: reading.value
        for reading in worker.readings()
        if reading.metric.name == "effectmq_model_cost_usd"
    }
    assert cost == {("priced",): 3 * NANOS / 1_000_000_000}


async def test_a_handler_of_ones_own_is_counted_by_its_outcome(tmp_path: Path, url: str) -> None:
    """By the list price of the model that was asked for."""
    worker = Worker(f"memory://{tmp_path.name}", journal=url)

    @worker.handler("llm_call")
    async def answer(command: RuntimeEffectCommandLlmCall) -> RuntimeEffectOutcomeLlmCall:
        usage = LlmUsage(
            input_tokens=1_000_000,
            output_tokens=0,
            cached_input_tokens=0,
            reasoning_tokens=0,
        )
        response = LlmResponse(full_text="", parts=[], usage=usage, terminal_reason="stop")
        return RuntimeEffectOutcomeLlmCall(result=Ok(response), text_streamed=False)

    async with worker, Client(worker.broker) as client:
        await client.turn("s", "t").llm_call(asked("gpt-4o"), timeout=PATIENCE_S)
        await client.turn("s", "u").llm_call(asked("who knows"), timeout=PATIENCE_S)
    assert await spent(url, "model") == {
        "gpt-4o": Sums(1, 1_000_000, 0, 0, 2_500_000_000, 0),
        "who knows": Sums(1, 1_000_000, 0, 0, 0, 1),
    }


async def test_a_failed_attempt_counts_as_well(tmp_path: Path, url: str) -> None:
    """Whether the next one waits in the worker, or outside of it."""
    worker = Worker(f"memory://{tmp_path.name}", journal=url, delay_levels_s=[0.1, 1.2])

    @worker.handler("sync_execution_surface")
    async def paid(command: object, context: EffectContext) -> dict[str, object]:
        context.spend("api", usd="0.25", input_tokens=context.attempt)
        if context.attempt < 3:
            raise RetryEffectError("try again", after_s=0.01 if context.attempt == 1 else 1.1)
        return {"type": "sync_execution_surface", "result": {"Ok": None}}

    async with worker, Client(worker.broker) as client:
        await client.turn("s", "t").sync_execution_surface(
            update_machine_config=False, timeout=PATIENCE_S
        )
    assert await spent(url, "model") == {"api": Sums(3, 6, 0, 0, 750_000_000, 0)}


async def test_a_tool_notes_what_it_has_paid_for(tmp_path: Path, url: str) -> None:
    """In a thread as well; within bounds."""
    worker = Worker(f"memory://{tmp_path.name}", journal=url)
    told: list[str] = []

    @worker.tool
    def search(context: ToolContext) -> None:
        for usd in ("a lot", -1, float("nan"), 100_001):
            with pytest.raises(ValueError, match="expected US dollars"):
                context.spend("search", usd=usd)
        for _ in range(1_000):
            context.spend("search")
        with pytest.raises(ValueError, match="1000 calls"):
            context.spend("search")
        told.append("done")

    async with worker, Client(worker.broker) as client:
        await client.turn("s", "u").tool_call("search", {}, call_id="c", timeout=PATIENCE_S)
    assert told == ["done"]
    assert await spent(url, "model") == {"search": Sums(1_000, unpriced=1_000)}


# Ceilings ----------------------------------------------------------------------------------------


async def refusal(client: Client, turn: str, tenant: str = "acme") -> EffectFailedError:
    with pytest.raises(EffectFailedError) as refused:
        await client.turn("s", turn, tenant=tenant).llm_call(asked(), timeout=PATIENCE_S)
    return refused.value


async def test_a_ceiling_refuses_and_a_replay_goes_on_when_it_is_raised(
    worker: Worker, url: str
) -> None:
    """The error says what was spent; asked again it is the same; nothing more is spent."""
    worker.spend_limit(usd="0.00007", by="tenant", name="acme")
    async with worker, Client(worker.broker) as client:
        for turn in ("1", "2"):
            await client.turn("s", turn, tenant="acme").llm_call(asked(), timeout=PATIENCE_S)
        first = await refusal(client, "3")
        assert first.code == "effectmq_spend_exceeded"
        assert "tenant 'acme' is $0.000076 and its ceiling is $0.00007 per month" in str(first)
        assert "effectmq spend limit set, then replay its dead letter" in str(first)
        await client.turn("s", "4", tenant="other").llm_call(asked(), timeout=PATIENCE_S)
        await book_of(url, lambda book: book.set(Ceiling(by="tenant", name="acme", nanos=10**9)))
        assert str(await refusal(client, "3")) == str(first)
        await client.turn("s", "5", tenant="acme").llm_call(asked(), timeout=PATIENCE_S)
        async with open_transport(worker.broker) as transport:
            letters = DeadLetters(transport, worker.topology)
            report = await letters.replay(DeadFilter(codes=("effectmq_spend_exceeded",)))
        assert report.done == 1
        await eventually(lambda: _is_answered(worker.broker))
    assert worker.counters["spend_refused"] == 1
    assert {name: sums.calls for name, sums in (await spent(url, "tenant")).items()} == {
        "acme": 4,
        "other": 1,
    }


async def _is_answered(broker: str) -> bool:
    """Whether the effect that was refused has its outcome now, for who did not hear the refusal."""
    async with Client(broker) as client:
        turn = client.turn("s", "3", tenant="acme")
        try:
            outcome = await turn.llm_call(asked(), timeout=PATIENCE_S)
        except EffectFailedError:
            return False
    return outcome.value == "two dollars fifty"


async def test_calls_wait_for_room_outside_of_the_worker(worker: Worker, url: str) -> None:
    """
    With no attempt counted and no slot held; each gets its answer as soon as there is room, which
    is before the time after which it is looked for unasked.
    """
    worker.spend_limit(tokens=0, by="tenant", on_exceeded="wait")
    async with worker, Client(worker.broker) as client:

        async def call(nth: int, tenant: str) -> object:
            turn = client.turn("s", f"t-{nth}", tenant=tenant)
            return (await turn.llm_call(asked(), timeout=PATIENCE_S)).value

        tenants = ("acme", "acme", "acme", "bolt")
        waiting = [asyncio.create_task(call(nth, name)) for nth, name in enumerate(tenants)]
        await eventually(lambda: _in_room(url, 4))
        assert worker.counters["spend_waits"] >= 4
        assert not any(each.done() for each in waiting)
        raised = Ceiling(by="tenant", name="acme", tokens=10**9)
        await book_of(url, lambda book: book.set(raised))
        assert await asyncio.gather(*waiting[:3]) == ["two dollars fifty"] * 3
        await eventually(lambda: _in_room(url, 1))
        await book_of(url, lambda book: book.clear("tenant", None, "month"))
        assert await waiting[3] == "two dollars fifty"
    async with open_archive(url) as archive:
        assert [effect.attempts for effect in await archive.find()] == [1] * 4
    calls = {name: sums.calls for name, sums in (await spent(url, "tenant")).items()}
    assert calls == {"acme": 3, "bolt": 1}


async def _in_room(url: str, count: int) -> bool:
    async with open_archive(url) as archive:
        waiting = await LimitDesk(archive.database).waiting()
    return sum(route.waiting for route in waiting) == count


async def test_other_kinds_are_never_refused(worker: Worker) -> None:
    """Who has no money left may still clean up."""

    @worker.tool
    def clean() -> str:
        return "clean"

    worker.spend_limit(tokens=0)
    async with worker, Client(worker.broker) as client:
        done = await client.turn("s", "t").tool_call("clean", {}, call_id="c", timeout=PATIENCE_S)
        assert done.value == "clean"


async def test_ceilings_need_a_journal_and_come_in_time(tmp_path: Path, worker: Worker) -> None:
    """Both are said before anything is spent."""
    without = Worker(f"memory://{tmp_path.name}-none", journal="none")
    without.spend_limit(usd=5)
    with pytest.raises(ConfigurationError, match="has no journal"):
        await without.start()
    with pytest.raises(ConfigurationError, match="from 0 to 1000000000"):
        worker.spend_limit(usd="NaN")
    async with worker:
        with pytest.raises(ConfigurationError, match="runs already"):
            worker.spend_limit(usd=5)
