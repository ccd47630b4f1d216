"""Operators that are killed: the queue stays the truth, the index comes back into step."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.protocol.messages.request import read_request
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.broker.dead_letters.test_dead_letters import sweep_namespace
from tests.brokers.provide import Broker
from tests.conformance.taking import until_ready
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker, pytest.mark.timeout(400)]

_COMMAND_S = 60
_MANY = 300


def started(
    stage: DeadStage, database: str, *words: str, crash_at: str = ""
) -> subprocess.Popen[bytes]:
    """``effectmq dead`` in a process of its own."""
    command = [sys.executable, "-m", "effectmq", "dead", *words, "--quiet", "--by", "ada"]
    environment = {
        **os.environ,
        "EFFECTMQ_BROKER": stage.url,
        "EFFECTMQ_NAMESPACE": stage.topology.namespace,
        "EFFECTMQ_JOURNAL": database,
        "EFFECTMQ_CRASH_AT": crash_at,
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code."""
    return await asyncio.to_thread(process.wait, _COMMAND_S)


async def in_step(stage: DeadStage, desk: DeadDesk) -> list[str]:
    """The ids of all letters, once index and queue agree on them."""

    async def exact() -> bool:
        return (await desk.refresh()).exact

    # The broker may hear later of the death of somebody who was killed.
    await eventually(exact)
    found = [letter.id async for letter in desk.every()]
    # Letters that were given back by somebody who was killed may have changed places.
    assert sorted(found) == sorted(letter.id for letter in await stage.listed())
    return found


@pytest.mark.parametrize("point", ["replay_after_publish:4", "replay_after_ack:4"])
async def test_a_replay_that_dies_at_a_point_is_finished_by_the_next(
    broker: Broker, namespace: str, shared_database_url: str, point: str
) -> None:
    """Nothing is lost, at most the letter in its hands goes twice, and all of it is on record."""
    async with (
        dead_stage(broker.url, namespace) as stage,
        DeadDesk(stage.transport, stage.topology, database=shared_database_url) as desk,
    ):
        parked = {(await stage.park()).hash for _ in range(10)}
        words = ("replay", "--all", "--rate", "10000")
        assert (
            await ended(started(stage, shared_database_url, *words, crash_at=point))
            == CRASH_EXIT_CODE
        )
        acknowledged = 3 if "publish" in point else 4
        await stage.dead(10 - acknowledged)
        assert len(await in_step(stage, desk)) == 10 - acknowledged
        [interrupted] = await desk.audit(10)
        assert (interrupted.who, interrupted.action, interrupted.ended_ms) == ("ada", "replay", 0)

        assert await ended(started(stage, shared_database_url, *words)) == 0
        assert await in_step(stage, desk) == []
        messages = await stage.work("exec_code", 10 + (4 - acknowledged))
        assert {read_request(message).hash for message in messages} == parked
        last, _ = await desk.audit(10)
        assert json.loads(last.report_json)["done"] == 10 - acknowledged
    await asyncio.to_thread(sweep_namespace, broker.url, namespace)


async def test_replays_that_are_killed_again_and_again_lose_nothing(
    broker: Broker, namespace: str, shared_database_url: str
) -> None:
    """Kill -9 in the middle, two operators at once, a reader beside them."""
    async with (
        dead_stage(broker.url, namespace) as stage,
        DeadDesk(stage.transport, stage.topology, database=shared_database_url) as desk,
    ):
        parked: set[str] = set()
        for _ in range(_MANY // 50):
            parked |= {
                each.hash for each in await asyncio.gather(*(stage.park() for _ in range(50)))
            }
        await desk.refresh()
        work = stage.names.work_queue("exec_code")
        words = ("replay", "--all", "--rate", "400")
        kills = 0
        for target in (40, 120):
            operators = [started(stage, shared_database_url, *words) for _ in range(2)]

            async def far_enough(target: int = target) -> bool:
                stats = await stage.transport.stats(work)
                return stats is not None and stats.ready >= target

            await eventually(far_enough, 60)
            for each in operators:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
            codes = [await ended(each) for each in operators]
            kills += codes.count(-signal.SIGKILL)
            assert (await desk.facets()).letters > 0
            await in_step(stage, desk)
        assert kills

        assert await asyncio.gather(
            *(
                ended(started(stage, shared_database_url, "replay", "--all", "--rate", "10000"))
                for _ in "ab"
            )
        ) == [0, 0]
        assert await in_step(stage, desk) == []
        # What is on its way to the broker when its sender dies may go twice, and nothing else.
        stats = await stage.transport.stats(work)
        assert stats is not None
        await until_ready(stage.transport, work, stats.ready)
        sent = Counter(
            read_request(each).hash for each in await stage.work("exec_code", stats.ready)
        )
        assert set(sent) == parked
        assert sent.total() - len(sent) <= kills
        unfinished = [line for line in await desk.audit(100) if not line.ended_ms]
        assert len(unfinished) <= 6
    await asyncio.to_thread(sweep_namespace, broker.url, namespace)


async def test_a_purge_that_is_killed_is_finished_by_the_next(
    broker: Broker, namespace: str, shared_database_url: str
) -> None:
    """Its index may have letters that are gone, until somebody looks."""
    async with (
        dead_stage(broker.url, namespace) as stage,
        DeadDesk(stage.transport, stage.topology, database=shared_database_url) as desk,
    ):
        for _ in range(20):
            await asyncio.gather(*(stage.park() for _ in range(50)))
        await desk.refresh()
        purging = started(stage, shared_database_url, "purge", "--all", "--yes")

        async def begun() -> bool:
            return bool(await desk.audit(1))

        await eventually(begun, 30)
        purging.kill()
        await ended(purging)
        left = await in_step(stage, desk)
        assert len(left) <= 1_000
        assert await ended(started(stage, shared_database_url, "purge", "--all", "--yes")) == 0
        assert await in_step(stage, desk) == []
    await asyncio.to_thread(sweep_namespace, broker.url, namespace)
