"""Two versions of the workers side by side on a real broker, as while a deployment rolls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from effectmq import Client, Worker, WorkerSettings
from tests.scenarios.effects import calls, envelopes
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_CALLS = 20
_PATIENCE_S = 60.0


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


async def told(client: Client, tool: str, **args: object) -> list[Any]:
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
    assert "given back 2 time(s)" in failure.message
