"""Time limits that callers give: seconds, or None for no limit, and the same everywhere."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import pytest

from effectmq.broker.client.asking.timeouts import FOREVER_S, checked_timeout
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import work_topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import PATIENCE_S, Stage, code

WRONG = [-1, -0.5, math.nan, -math.inf, True, False, "5", b"5", Decimal(5), [], {}]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker that nobody else uses, with a queue for code and nobody at work."""
    async with AsyncExitStack() as stack:
        made = Stage(stack)
        await (await made.transport()).declare(work_topology(made.topology, ["exec_code"]))
        yield made
        async with asyncio.timeout(PATIENCE_S):
            await stack.aclose()


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_is_no_time_is_refused_with_a_sentence(value: object) -> None:
    """With the name of the argument, what was found, and what would do."""
    with pytest.raises(ConfigurationError, match=r"deadline_s is .* expected seconds") as refused:
        checked_timeout(value, "deadline_s")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("value", "meant"),
    [(None, None), (math.inf, FOREVER_S), (0, 0.0), (2, 2.0), (0.5, 0.5), (10**400, FOREVER_S)],
)
def test_seconds_and_none_are_taken(value: float | None, meant: float | None) -> None:
    """What is too long to be counted is a year."""
    assert checked_timeout(value) == meant


async def test_every_public_call_checks_alike(stage: Stage) -> None:
    """Before anything is submitted."""
    client = await stage.client()
    handle = await client.submit(code())
    turn, processes = client.turn("s", "t"), client.process_scope("s")
    wrong: Any = "soon"
    for call in (
        lambda: client.submit(code(), timeout=wrong),
        lambda: client.submit(code(), deadline_s=wrong),
        lambda: client.execute(code(), timeout=wrong),
        lambda: handle.reply(wrong),
        lambda: handle.outcome(wrong),
        lambda: turn.exec_code("1", timeout=wrong),
        lambda: turn.tool_call("t", {}, call_id="c", timeout=wrong),
        lambda: processes.wait("p", timeout=wrong),
    ):
        with pytest.raises(ConfigurationError, match="is 'soon'; expected seconds"):
            await call()


async def test_none_waits_without_a_limit(stage: Stage) -> None:
    """Until the outcome is there, however late that is."""
    client = await stage.client()
    waiting = asyncio.ensure_future(client.execute(code(), timeout=None))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    worker = stage.worker()

    @worker.handler("exec_code")
    async def run(command: object) -> object:
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    await stage.start(worker)
    async with asyncio.timeout(PATIENCE_S):
        await waiting
