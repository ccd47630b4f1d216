"""
A worker that leaves at any turn of the loop: nothing is lost, kept, or done a second time.

Each step of a delivery ends a turn, and so does each answer of the journal and of the broker. A
worker is stopped after no turns, after one, after two, and so on, for longer than the deliveries
take; then another worker gets what is left.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.handle import Handle
from effectmq.broker.store.journal.journal import Journal
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import AT_ONCE, PATIENCE_S, Stage, code, nap

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))

#: More turns than the deliveries of one round take.
_TURNS = 90
#: And how often the journal answers in one.
_ANSWERS = 9


@pytest.fixture
def complaints() -> list[str]:
    """What reaches the loop, where nothing may: exceptions that nobody took."""
    found: list[str] = []
    loop = asyncio.get_event_loop()
    loop.set_exception_handler(lambda _, context: found.append(str(context)))
    return found


def make(stage: Stage, journal: str | None, begun: list[str]) -> EffectWorker:
    """A worker whose effects must not begin twice where a journal can prevent it."""
    # A lease that is not given back is missed: nobody waits for its end.
    worker = stage.worker(journal=journal, concurrency=8, lease_s=60.0, kill_grace_s=0.01)

    @worker.handler("exec_code", retry=AT_ONCE)
    async def run(command: Any) -> object:
        begun.append(command.code)
        if command.code == "again" and begun.count("again") % 2:
            raise OSError("once more")
        if command.code == "never":
            raise LookupError("never")
        await asyncio.sleep(0)
        return DONE

    return worker


async def ended(handle: Handle) -> str:
    """How an effect ended."""
    try:
        await handle.outcome(PATIENCE_S)
    except EffectFailedError as problem:
        return problem.code
    return "done"


async def turns(count: int) -> None:
    """Turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def assert_declared(stage: Stage) -> None:
    """The queues are there before anybody asks."""
    worker = make(stage, None, [])
    await worker.start()
    await worker.stop()


async def assert_quiet(complaints: list[str]) -> None:
    """Nobody has forgotten an exception."""
    gc.collect()
    await turns(2)
    assert complaints == []


class Answers:
    """
    Counts what the journal has answered.

    Args:
        monkeypatch: Puts it in the way.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for method in ("claim", "record", "hand_back"):
            monkeypatch.setattr(Journal, method, self._counted(getattr(Journal, method)))

    def _counted(self, real: Callable[..., asyncio.Future[Any]]) -> Callable[..., Any]:
        def asked(journal: Journal, *what: Any) -> asyncio.Future[Any]:
            future = real(journal, *what)
            future.add_done_callback(self._note)
            return future

        return asked

    async def heard(self, count: int, more: int) -> None:
        """Wait for so many answers, and some turns."""
        async with asyncio.timeout(PATIENCE_S):
            while self.count < count:
                await turns(1)
        await turns(more)

    def _note(self, _: object) -> None:
        self.count += 1


async def assert_all_end(
    stage: Stage, journal: str | None, name: str, moment: Callable[[], Awaitable[None]]
) -> None:
    """Stop a worker at a moment, and see that the next one carries out what is left."""
    client, other = await stage.client(), await stage.client()
    begun: list[str] = []
    envelopes = [code(text, f"{text}-{name}") for text in ("good", "again", "never")]
    envelopes.append(nap(5, f"nap-{name}"))
    first = make(stage, journal, begun)
    await first.start()
    assert first._running is not None
    routes = first._running._routes
    handles = [await client.submit(one) for one in envelopes]
    handles += [await other.submit(one) for one in envelopes[:2]]
    await moment()
    await first.stop(0.0)
    assert not any(route.jobs for route in routes), name
    assert first.counters["defects"] == 0, name
    last = make(stage, journal, begun)
    await last.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.gather(*(ended(one) for one in handles))
    except TimeoutError:
        pytest.fail(f"{name}: {dict(last.counters)} {dict(first.counters)}")
    await last.stop()
    assert last.counters["defects"] == 0, name
    assert found == ["done", "done", "effectmq_exhausted", "done", "done", "done"], (
        name,
        found,
        dict(first.counters),
        dict(last.counters),
    )


async def test_a_worker_may_leave_at_any_turn(stage: Stage, complaints: list[str]) -> None:
    """Without a journal."""
    await assert_declared(stage)
    for count in range(_TURNS):
        await assert_all_end(stage, None, f"{count} turns", partial(turns, count))
    await assert_quiet(complaints)


async def test_a_worker_may_leave_at_any_answer_of_the_journal(
    stage: Stage, tmp_path: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And some turns after it."""
    await assert_declared(stage)
    answers = Answers(monkeypatch)
    for count in range(_ANSWERS):
        for more in range(5):
            name = f"{count} answers, {more} turns"
            answers.count = 0
            moment = partial(answers.heard, count, more)
            await assert_all_end(stage, f"sqlite:///{tmp_path}/j.db", name, moment)
    await assert_quiet(complaints)
