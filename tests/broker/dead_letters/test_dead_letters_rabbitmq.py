"""Dead letters where only a real broker, or a real death, can tell."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.dead_letters.dead_letters import (
    DeadFilter,
    DeadLettersInUseError,
    DeadLettersLostError,
)
from effectmq.broker.transports import open_transport
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.broker.transports.rabbitmq.header_bomb import publish_bomb
from tests.brokers.provide import Broker
from tests.conformance.taking import until_ready

_COMMAND_S = 60


def replay_command(stage: DeadStage, crash_at: str = "") -> int:
    """``effectmq dead replay --all`` in a process of its own; its exit code."""
    command = [sys.executable, "-m", "effectmq", "dead", "replay", "--all", "--rate", "10000"]
    environment = {
        **os.environ,
        "EFFECTMQ_BROKER": stage.url,
        "EFFECTMQ_NAMESPACE": stage.topology.namespace,
        "EFFECTMQ_CRASH_AT": crash_at,
    }
    return subprocess.run(command, env=environment, timeout=_COMMAND_S, check=False).returncode


@pytest.mark.scenario
@pytest.mark.one_broker
@pytest.mark.parametrize("point", ["replay_after_publish", "replay_after_ack"])
@pytest.mark.parametrize("nth", [1, 3, 5])
async def test_a_replay_that_is_killed_loses_nothing(
    broker: Broker, namespace: str, point: str, nth: int
) -> None:
    """Wherever it dies, each effect is pending or dead, and the next replay takes the rest."""
    async with dead_stage(broker.url, namespace) as stage:
        parked = {(await stage.park()).hash for _ in range(5)}

        code = await asyncio.to_thread(replay_command, stage, f"{point}:{nth}")

        assert code == CRASH_EXIT_CODE
        acknowledged = nth - (point == "replay_after_publish")
        await stage.dead(5 - acknowledged)
        await until_ready(stage.transport, stage.names.work_queue("exec_code"), nth)
        assert await asyncio.to_thread(replay_command, stage) == 0
        pending = nth + 5 - acknowledged
        messages = await stage.work("exec_code", pending)
        assert {read_request(message).hash for message in messages} == parked
        assert await stage.listed() == []


async def test_a_message_that_the_client_cannot_read_ends_a_look_with_a_sentence(
    broker: Broker, namespace: str
) -> None:
    """It must not hang and must not lose anything, whether the client gets past it or not."""
    async with dead_stage(broker.url, namespace) as stage:
        await stage.park()
        await publish_bomb(broker.url, stage.names.dead, "tool_call")
        await stage.park()
        async with asyncio.timeout(20):
            [seen] = await asyncio.gather(stage.listed(), return_exceptions=True)
        if isinstance(seen, list):
            assert len(seen) == 3
        else:
            assert isinstance(seen, DeadLettersLostError)
            assert "can read the next message" in str(seen)
        await stage.dead(3)


async def test_of_two_readers_that_come_at_once_one_leaves(broker: Broker, namespace: str) -> None:
    """Never two at a time, also when neither was there when the other looked."""
    async with dead_stage(broker.url, namespace) as stage, open_transport(broker.url) as second:
        for _ in range(3):
            await stage.park()
        other = DeadStage(broker.url, second, stage.topology)
        results = await asyncio.gather(stage.listed(), other.listed(), return_exceptions=True)
        for result in results:
            assert isinstance(result, DeadLettersInUseError) or len(result) == 3  # type: ignore[arg-type]
        await stage.dead(3)


async def test_a_thousand_letters_are_replayed(broker: Broker, namespace: str) -> None:
    """More than one window, with letters in between that stay."""
    async with dead_stage(broker.url, namespace) as stage:
        for number in range(40):
            await asyncio.gather(*(stage.park() for _ in range(20)))
            await stage.raw(Message(body=b"\xc1", correlation_id=str(number)))
        report = await stage.letters.replay(DeadFilter(), rate=100_000)
        assert (report.done, report.skipped, report.gone, report.stopped) == (800, 40, 0, "")
        await until_ready(stage.transport, stage.names.work_queue("exec_code"), 800)
        await stage.dead(40)
