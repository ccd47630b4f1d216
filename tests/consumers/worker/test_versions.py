"""Two versions of the workers at once: what is bound to one waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.inheritance import Inheritance
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.decisions.versions import ToVersion, bound_elsewhere
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes import settlement
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, EffectFailedError, UnroutableError
from effectmq.protocol.messages.request import Request
from tests.consumers.stage import (
    NAMES,
    PATIENCE_S,
    TOPOLOGY,
    Stage,
    hurry,
    nap,
    staged,
    tool,
)
from tests.waiting import eventually


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


def worker(stage: Stage, version: str, *names: str, **arguments: Any) -> EffectWorker:
    """A worker of a version; each of its tools says the version."""
    made = EffectWorker(stage.url, topology=TOPOLOGY, version=version, **arguments)

    async def say() -> str:
        return version

    for name in names or ("who",):
        made.tool(name=name)(say)
    return made


async def said(client: EffectClient, name: str, version: str | None, effect: str = "1") -> Any:
    """Which version a tool says."""
    outcome = await client.execute(tool(name, effect), version=version, timeout=PATIENCE_S)
    return outcome.value


@pytest.mark.parametrize(
    ("bound", "own", "goes"),
    [
        ("", "", None),
        ("", "1", None),
        ("2", "2", None),
        ("2", "", None),
        ("2", "1", ToVersion("2")),
    ],
)
def test_where_an_effect_goes(bound: str, own: str, goes: ToVersion | None) -> None:
    assert bound_elsewhere(bound, own) == goes


async def test_each_version_takes_what_is_bound_to_it(stage: Stage) -> None:
    await stage.start(worker(stage, "1"))
    await stage.start(worker(stage, "2"))
    client = await stage.client()
    for number in range(10):
        version = str(1 + number % 2)
        assert await said(client, "who", version, f"e{number}") == version
    assert client.counters["publish_retries"] == 0


async def test_what_is_bound_waits_for_its_version_that_never_ran(stage: Stage) -> None:
    """The old version has the queue made; nothing there is tried, counted or failed."""
    old = await stage.start(worker(stage, "1"))
    client = await stage.client()
    waiting = asyncio.create_task(said(client, "fresh", "2"))
    await eventually(lambda: stage.ready(NAMES.work_queue("tool_call@2")) == 1)
    assert old.counters["to_version"] == 1
    assert old.counters["elsewhere"] == 0
    # It is made once. Who sent an effect there must not bring it back after somebody deleted it.
    lasting = stage.connection_of(old)._declared
    assert NAMES.work_queue("tool_call@2") not in {queue.name for queue in lasting.queues}
    await stage.start(worker(stage, "2", "who", "fresh"))
    assert await waiting == "2"


async def test_versions_that_strangers_name_do_not_make_queues_without_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "_MOST_VERSIONS", 2)
    await stage.start(worker(stage, "1"))
    client = await stage.client()
    for version in ("2", "3", "3"):
        await client.submit(tool("who", f"of-{version}"), version=version)
    await eventually(lambda: stage.ready(NAMES.work_queue("tool_call@3")) == 2)
    with pytest.raises(EffectFailedError, match="declared 2 queues of versions already"):
        await said(client, "who", "4", "of-4")
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code) == ("rejected", "effectmq_route_refused")
    # What has a queue is sent there all the same.
    await stage.start(worker(stage, "4"))
    assert await said(client, "who", "4", "of-5") == "4"


async def test_a_name_that_no_queue_can_have_is_refused(stage: Stage) -> None:
    """By the client; and by a worker, when another producer sends it."""
    lane = "x" * 160
    key = f"tool_call.{lane}"
    await stage.start(worker(stage, "1"), [key])
    client = await stage.client()
    version = "v" * 40
    with pytest.raises(ConfigurationError, match=r"route is .*expected 1 to 200 characters"):
        await client.submit(tool("who"), lane=lane, version=version)
    sealed = Request.seal(tool("who"), version=version)
    await stage.publish(key, sealed.message)
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code) == ("rejected", "effectmq_route_refused")


async def test_it_goes_straight_there_once_the_queue_exists(stage: Stage) -> None:
    old = await stage.start(worker(stage, "1"))
    await stage.start(worker(stage, "2"))
    client = await stage.client()
    assert await said(client, "who", "2") == "2"
    assert old.counters["to_version"] == 0


async def test_workers_without_a_version_carry_out_everything(stage: Stage) -> None:
    """A kind of which no worker has a version can be asked for in a turn that is bound."""
    await stage.start(worker(stage, ""))
    client = await stage.client()
    turn = client.turn("s", "t", version="2")
    assert (await turn.tool_call("who", {}, call_id="c")).value == ""
    many = [each.value async for each in client.map([tool("who", "m")], version="2")]
    assert many == [""]


async def test_without_any_worker_it_is_said_what_is_missing(stage: Stage) -> None:
    client = await stage.client()
    with pytest.raises(UnroutableError, match="no queue for 'tool_call'"):
        await client.submit(tool("who"), version="2")


async def test_a_retry_of_what_is_bound_stays_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delayed copy comes home to the queue of the version."""
    hurry(monkeypatch)
    old = await stage.start(worker(stage, "1"))
    new = EffectWorker(stage.url, topology=TOPOLOGY, version="2")
    attempts: list[int] = []

    @new.tool(retry=RetryPolicy(max_attempts=3, base_delay_s=0.03, max_delay_s=0.05))
    async def flaky(context: EffectContext) -> str:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ValueError("not yet")
        return context.version

    await stage.start(new)
    client = await stage.client()
    assert await said(client, "flaky", "2") == "2"
    assert attempts == [1, 2, 3]
    assert new.counters["delayed"] >= 1
    assert old.counters["delivered"] == 0


async def test_a_version_has_the_slots_of_its_route(stage: Stage) -> None:
    settings = WorkerSettings(concurrency=3, route_concurrency={"tool_call": 5, "sleep@2": 1})
    assert [settings.concurrency_of(route) for route in ("tool_call@2", "sleep@2", "sleep")] == [
        5,
        1,
        3,
    ]
    running = await stage.start(worker(stage, "2"))
    assert running.version == "2"
    report = running._running._report() if running._running else None
    assert report is not None
    assert {"tool_call", "tool_call@2"} <= {route.route for route in report.routes}


def test_children_are_bound_as_their_parent() -> None:
    request = Request.seal(nap(1), version="2")
    assert Inheritance.of(request).version == "2"


@pytest.mark.parametrize("version", ["a@b", "a b", "x" * 41])
async def test_what_is_no_version_is_refused(stage: Stage, version: str) -> None:
    with pytest.raises(ConfigurationError, match="the version is"):
        EffectWorker("memory://", version=version)
    client = await stage.client()
    with pytest.raises(ConfigurationError, match="the version is"):
        await client.submit(tool("who"), version=version)
