"""Two versions of the workers side by side on a real broker, as while a deployment rolls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from effectmq import Client, Turn, Worker, WorkerSettings
from effectmq.broker.store.journal.archive.archive import open_archive
from tests.consumers.llm.asking import spec
from tests.scenarios.conftest import sqlite_in
from tests.scenarios.effects import calls, envelopes
from tests.scenarios.fleet import Fleet, FleetProcess
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

#: How a failure says that the effect was given back, and how often.
_GIVEN_BACK = re.compile(r"\. It was given back (\d+) time\(s\) in ")
_CALLS = 20
_PATIENCE_S = 60.0
_VERSIONS = "tests.scenarios.versions"
_KINDS = ("tool_call", "llm_call")
#: What the new one of them has, and the old one says at once that it lacks.
_ONLY_NEW = {"tool refund", "tool far.say", "model m2"}
#: How often all calls are made, until one of them comes to the old one.
_ROUNDS = 50


@pytest.fixture
async def client(fleet: Fleet) -> AsyncGenerator[Client]:
    """Somebody who calls tools."""
    async with Client(fleet.broker, namespace=fleet.namespace, identity="caller") as opened:
        yield opened


def worker(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, name: str, **settings: Any) -> Worker:
    """One of this process, on the fleet's queues."""
    monkeypatch.setenv("EFFECTMQ_DELAY_LEVELS", ",".join(map(str, fleet.delay_levels_ms)))
    return Worker(
        fleet.broker,
        namespace=fleet.namespace,
        journal=fleet.journal,
        name=name,
        settings=WorkerSettings(**settings),
    )


async def told(client: Client, tool: str, **args: Any) -> list[Any]:
    """What many calls of one tool give."""
    plan = envelopes(calls(tool, _CALLS, **args))
    outcomes: list[Any] = await asyncio.gather(
        *(client.execute(envelope, timeout=_PATIENCE_S) for envelope in plan)
    )
    return [outcome.result.output.outcome.payload for outcome in outcomes]


async def test_new_tools_and_arguments_are_found_at_new_workers(
    fleet: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls succeed while both run, and that is what is recorded."""
    fleet.journal = f"sqlite:///{fleet.folder}/journal.db"
    old, new = (worker(fleet, monkeypatch, name) for name in ("old", "new"))

    @old.tool(name="pay")
    async def old_pay(n: int) -> str:
        return "old"

    @new.tool(name="pay")
    async def pay(n: int, currency: str = "EUR") -> str:
        return currency

    @new.tool
    async def refund(n: int) -> int:
        return n

    async with old, new:
        assert await told(client, "refund") == list(range(_CALLS))
        assert await told(client, "pay", currency="CHF") == ["CHF"] * _CALLS
    assert old.counters["elsewhere"] > 0


async def test_a_new_worker_that_comes_a_little_later_is_waited_for(
    fleet: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who has the tool is there when it is called."""
    old, new = (worker(fleet, monkeypatch, name) for name in ("old", "new"))

    @old.tool
    async def pay(n: int) -> int:
        return n

    @new.tool
    async def refund(n: int) -> int:
        return n

    async with old:
        calling = asyncio.create_task(told(client, "refund"))
        await eventually(lambda: old.counters["elsewhere"] >= _CALLS, _PATIENCE_S)
        async with new:
            assert await calling == list(range(_CALLS))


async def test_a_tool_that_nobody_has_fails_after_the_stated_time(
    fleet: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how often and how long it was tried."""
    app = worker(fleet, monkeypatch, "only", elsewhere_s=2.5)

    @app.tool
    async def pay(n: int) -> int:
        return n

    async with app:
        (envelope,) = envelopes(calls("refundd", 1))
        outcome: Any = await client.execute(envelope, timeout=_PATIENCE_S)
    failure = outcome.result.output.outcome.payload
    assert failure.code == "tool_unavailable"
    assert _tried([failure]) == [app.counters["elsewhere"]]


# Processes of their own ---------------------------------------------------------------------------


async def _many(
    client: Client, ask: Callable[[Turn], Awaitable[Any]], turn_id: str = "t"
) -> list[Any]:
    """What the same question gives in many turns."""
    # A session each: blocks of code of one session run one after another.
    turns = [client.turn(f"rolling-{n}", turn_id) for n in range(2 * _CALLS)]
    return await asyncio.gather(*(ask(turn) for turn in turns))


def _payload(outcome: Any) -> Any:
    return outcome.result.output.outcome.payload


async def _told_of_tool(
    client: Client, tool: str, *, turn_id: str = "t", **args: object
) -> list[Any]:
    def ask(turn: Turn) -> Awaitable[Any]:
        return turn.tool_call(tool, args, call_id=tool, timeout=_PATIENCE_S)

    found = await _many(client, ask, turn_id)
    return [_payload(outcome) for outcome in found]


def _given_back(worker: FleetProcess) -> set[str]:
    """What a worker sent on to others, because it lacked it."""
    return {str(line["needs"]) for line in worker.log() if line.get("action") == "elsewhere"}


@pytest.mark.parametrize("kept", [True, False], ids=["journal", "no journal"])
async def test_what_an_old_process_lacks_is_carried_out_by_a_new_one(
    fleet: Fleet, client: Client, kept: bool
) -> None:
    """A tool, an argument, a model, an MCP server, a code engine: no call is answered without."""
    if kept:
        fleet.journal = sqlite_in(fleet.folder)
    old = fleet.worker(*_KINDS, app=f"{_VERSIONS}:old")
    await fleet.ready(old)

    count = 2 * _CALLS
    asked = spec("hello", model="m2")
    asking = asyncio.gather(
        _told_of_tool(client, "refund", n=7),
        _told_of_tool(client, "far.say", text="hello"),
        _many(client, lambda turn: turn.llm_call(asked, timeout=_PATIENCE_S)),
    )
    # Beside a new one, the old one may be too slow to see any call of a kind.
    await eventually(lambda: _given_back(old) == _ONLY_NEW, _PATIENCE_S)
    new = fleet.worker(*_KINDS, *(["exec_code"] if kept else []), app=f"{_VERSIONS}:new")
    await fleet.ready(new, timeout_s=_PATIENCE_S)
    refunds, said, answers = await asking
    assert refunds == [7] * count
    # An argument that nobody knows is an error at once, so the new one has to be there for it.
    for turn in map(str, range(_ROUNDS)):
        paid = await _told_of_tool(client, "pay", turn_id=turn, n=7, currency="CHF")
        assert paid == ["CHF 7"] * count
        if "tool pay" in _given_back(old):
            break
    assert said == ["hello"] * count
    assert {answer.result.ok.full_text for answer in answers} == {"hello"}
    if kept:
        code = "print(refund(n=7))"
        blocks = await _many(client, lambda turn: turn.exec_code(code, timeout=_PATIENCE_S))
        assert [block.result.ok.observations for block in blocks] == [["7\n"]] * count

    assert _given_back(old) == _ONLY_NEW | {"tool pay"}
    assert _given_back(new) == set()
    if kept:
        async with open_archive(fleet.journal, namespace=fleet.namespace) as archive:
            rows = await archive.find()
        assert {(row.status, row.deaths) for row in rows} == {("completed", 0)}


@pytest.mark.parametrize("kept", [True, False], ids=["journal", "no journal"])
async def test_what_only_an_old_process_is_asked_for_fails_after_the_stated_time(
    fleet: Fleet, client: Client, kept: bool
) -> None:
    """And not before: nothing is on record while somebody may come who has it."""
    if kept:
        fleet.journal = sqlite_in(fleet.folder)
    old = fleet.worker(*_KINDS, app=f"{_VERSIONS}:old", settings={"elsewhere_s": 2.5})
    await fleet.ready(old)

    asking = asyncio.create_task(_told_of_tool(client, "refund", n=7))
    await eventually(lambda: old.actions()["elsewhere"] >= 2 * _CALLS, _PATIENCE_S)
    if kept:
        async with open_archive(fleet.journal, namespace=fleet.namespace) as archive:
            assert "completed" not in {row.status for row in await archive.find()}

    failures = await asking
    assert {failure.code for failure in failures} == {"tool_unavailable"}
    tried = _tried(failures)
    assert old.actions()["elsewhere"] == sum(tried)
    asked = spec("hello", model="m2")
    answers = await _many(client, lambda turn: turn.llm_call(asked, timeout=_PATIENCE_S))
    unknown = [answer.result.err for answer in answers]
    assert {failure.code for failure in unknown} == {"model_not_configured"}
    assert old.actions()["elsewhere"] == sum(tried) + sum(_tried(unknown))


def _tried(failures: list[Any]) -> list[int]:
    """
    How often another worker was looked for, as each failure says in a sentence of its own.

    In 2.5 s a delay of one second fits twice, and on a busy machine, where it takes longer, once.
    """
    told = [_GIVEN_BACK.search(failure.message) for failure in failures]
    tried = [int(found[1]) if found else 0 for found in told]
    assert set(tried) <= {1, 2}
    return tried
