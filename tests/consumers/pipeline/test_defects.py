"""What raises where nothing may: the effect is parked or given back, and nothing is kept busy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.decisions.retry import NO_RETRY, RetryPolicy
from effectmq.consumers.handler import EffectContext, HandlerTimeoutError
from effectmq.consumers.outboxes.settlement import Settlement
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode, RuntimeEffectOutcomeSleep
from tests.consumers.stage import Stage, code, outcome, tool
from tests.waiting import eventually


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


class Careless:
    """A handler object of a user's own, wrong at one place."""

    kind = "exec_code"
    retry: RetryPolicy = NO_RETRY

    def __init__(self, wrong: str = "", result: Any = None) -> None:
        self._wrong = wrong
        self._result = result

    def _maybe(self, place: str) -> None:
        if place == self._wrong:
            raise LookupError(f"no {place}")

    def limit_s(self, request: Request) -> float | None:
        """Too short for the one whose time runs out."""
        self._maybe("limit_s")
        return 0.01 if self._wrong == "timed_out" else None

    def on_uncertain(self, request: Request) -> OnUncertain:
        """Usually retried."""
        self._maybe("on_uncertain")
        return "retry"

    async def run(self, request: Request, context: EffectContext) -> Any:
        """Whatever it was told to give."""
        if self._wrong == "timed_out":
            await asyncio.Event().wait()
        return self._result

    def timed_out(self, request: Request, limit_s: float) -> HandlerTimeoutError:
        """What it comes to."""
        self._maybe("timed_out")
        return HandlerTimeoutError(limit_s)


@pytest.mark.parametrize(
    ("wrong", "kept"),
    [
        ("limit_s", True),
        ("limit_s", False),
        # Without a journal nobody asks.
        ("on_uncertain", True),
        ("timed_out", True),
        ("timed_out", False),
    ],
)
async def test_a_handler_that_fails_outside_of_its_run_is_parked(
    stage: Stage, url: str, wrong: str, kept: bool
) -> None:
    """Told, parked, settled; and the lane goes on."""
    app = stage.worker(journal=url if kept else None, concurrency=1)
    app.add(Careless(wrong))
    await stage.start(app)
    client = await stage.client()
    for effect_id in ("1", "2"):
        with pytest.raises(EffectFailedError, match=f"no {wrong}"):
            await outcome(await client.submit(code("a", effect_id)))
    await stage.parked(2)
    await stage.idle(app, "exec_code")


@pytest.mark.parametrize(
    "result", [None, 17, {"nonsense": 1}, RuntimeEffectOutcomeSleep(), object()]
)
async def test_what_is_no_outcome_of_the_kind_is_never_recorded_as_one(
    stage: Stage, url: str, result: object
) -> None:
    """Also from a handler object, which nobody has wrapped."""
    app = stage.worker(journal=url)
    app.add(Careless(result=result))
    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError, match="runtime_effect_wrong_outcome"):
        await outcome(await client.submit(code("a")))
    (letter,) = await stage.parked()
    assert letter.reason == "rejected"


class Unspeakable(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_an_error_whose_text_cannot_be_had_is_an_error_like_another(
    stage: Stage, url: str
) -> None:
    """Nothing hangs on how it is written down."""
    app = stage.worker(journal=url)

    @app.handler("exec_code", retry=NO_RETRY)
    async def run(command: object) -> object:
        raise Unspeakable

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError, match="Unspeakable: its text cannot be read"):
        await outcome(await client.submit(code("a")))


async def test_a_damaged_record_is_told_and_not_run_over(stage: Stage, url: str) -> None:
    """It cannot be answered with, and must not be replaced by another run."""
    app = stage.worker(journal=url)
    runs = 0

    @app.handler("exec_code")
    async def run(command: object) -> object:
        nonlocal runs
        runs += 1
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    await stage.start(app)
    await outcome(await (await stage.client()).submit(code("a")))
    async with Journal(url, namespace="t") as journal:
        await journal.database.write(
            lambda tx: tx.execute("UPDATE effectmq_effects SET outcome_json = '{\"type\":'")
        )
    other = await stage.client()
    with pytest.raises(EffectFailedError, match="effectmq_defect"):
        await outcome(await other.submit(code("a")))
    await stage.idle(app, "exec_code")
    assert runs == 1


async def test_an_effect_that_was_bound_to_a_foreign_queue_is_parked(stage: Stage) -> None:
    """By a binding of somebody's own; the queue says what its handler can take."""
    app = stage.worker(concurrency=1)

    @app.tool
    async def hello() -> str:
        return "hello"

    await stage.start(app)
    request = Request.seal(code("a"))
    await (await stage.transport()).publish("", "t.work.tool_call", request.message)
    (letter,) = await stage.parked()
    assert letter.reason == "tampered"
    client = await stage.client()
    assert (await outcome(await client.submit(tool("hello")))).type == "tool_call"


async def test_claims_under_way_at_a_stop_are_handed_back(stage: Stage, url: str) -> None:
    """What has not begun is not uncertain, whatever its handler asks for."""
    app = stage.worker(journal=url, concurrency=50, lease_s=0.2)
    begun: list[str] = []

    @app.handler("exec_code", on_uncertain="park")
    async def run(command: object, context: EffectContext) -> object:
        begun.append(context.effect_id)
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    client = await stage.client()
    await stage.start(app)
    await app.stop()
    handles = [await client.submit(code("a", str(number))) for number in range(50)]
    again = stage.worker(journal=url, concurrency=50, lease_s=0.2)
    again.handler("exec_code", on_uncertain="park")(run)
    await again.start()
    await eventually(lambda: again.counters["claims"] > 0)
    await again.stop(0.0)
    # On a busy machine bodies have begun by now, and how far one came may be unknown.
    at_the_stop = set(begun)
    last = stage.worker(journal=url, concurrency=50, lease_s=0.2)
    last.handler("exec_code", on_uncertain="park")(run)
    await stage.start(last)
    unknown: dict[str, str] = {}
    for handle in handles:
        try:
            await outcome(handle)
        except EffectFailedError as failed:
            unknown[handle.effect_id] = failed.code
    assert set(unknown) <= at_the_stop
    assert set(unknown.values()) <= {"effectmq_uncertain"}
    assert sorted(begun) == sorted(handle.effect_id for handle in handles)


async def test_a_cancellation_that_nobody_asked_for_is_a_defect(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delivery does not end with it: the effect is parked, and who waits is told."""
    app = stage.worker(journal=url)
    park = Settlement.park
    times = iter(range(9))

    async def cancelled_once(
        self: Settlement, reason: str, kind: str, message: Message, **more: Any
    ) -> None:
        if next(times) == 0:
            raise asyncio.CancelledError
        await park(self, reason, kind, message, **more)

    monkeypatch.setattr(Settlement, "park", cancelled_once)

    @app.handler("exec_code", retry=NO_RETRY)
    async def run(command: object) -> object:
        raise OSError("no")

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError, match=r"effectmq_defect.*was cancelled"):
        await outcome(await client.submit(code("a")))
    await stage.parked(1)
    await stage.idle(app, "exec_code")
    assert app.counters["defects"] == 1
