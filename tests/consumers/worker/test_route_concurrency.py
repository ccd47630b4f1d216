"""A route with a concurrency of its own, beside those that have the worker's."""

from __future__ import annotations

import asyncio

from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, Stage, code, gathered, tool
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


async def test_each_route_takes_as_many_as_it_may(stage: Stage) -> None:
    """What does not fit waits at the broker; the other routes are not held up by it."""
    app = stage.worker(concurrency=3, route_concurrency={"exec_code": 1})
    gate = asyncio.Event()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        await gate.wait()
        return DONE

    @app.tool
    async def hold() -> str:
        await gate.wait()
        return "held"

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code(effect_id=f"c{n}")) for n in range(3)]
    handles += [await client.submit(tool("hold", f"t{n}", call_id=f"{n}")) for n in range(3)]
    await eventually(lambda: app.counters["started"] == 4)
    assert stage.unsettled("exec_code") == 1
    assert stage.ready(NAMES.work_queue("exec_code")) == 2
    gate.set()
    assert len(await gathered(handles)) == 6


def test_slots_are_counted_by_route() -> None:
    """Routes that are not consumed do not count."""
    settings = WorkerSettings(concurrency=3, route_concurrency={"llm_call": 9, "direct": 50})
    assert settings.concurrency_of("llm_call") == 9
    assert settings.slots(["llm_call", "sleep"]) == 12
