"""Messages that are no effects, in the middle of a good day's work."""

from __future__ import annotations

import asyncio
import random

import pytest

from effectmq import Client, TransportSettings
from effectmq.broker.transports import open_transport
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import ENVELOPE_TYPE
from effectmq.protocol.topology import Names
from tests.scenarios.checker import conclude, dead_letters
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.effects import calls
from tests.scenarios.fleet import Fleet
from tests.scenarios.hostile import malformed
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = pytest.mark.scenario

_GOOD = 2_000
_BAD = 200
_SEED = 20_261


async def test_malformed_messages_are_parked_and_the_others_done(fleet: Fleet) -> None:
    """Each of 200 is parked as malformed with its reason; 2,000 good ones pay no attention."""
    worker = fleet.worker(concurrency=32)
    await fleet.ready(worker)
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    async with asyncio.TaskGroup() as group:
        group.create_task(run(fleet.plan(calls("work", _GOOD)), client))
        group.create_task(_poison(fleet))

    async with open_transport(fleet.broker, TransportSettings(name="checker")) as transport:
        dead = Names(fleet.namespace).dead

        async def all_parked() -> bool:
            stats = await transport.stats(dead)
            return stats is not None and stats.ready >= _BAD

        await eventually(all_parked, 30)
        letters = await dead_letters(fleet, transport)
    assert worker.alive, "it was never restarted"
    assert sorted(letter.effect_id for letter in letters) == sorted(
        f"poison-{number}" for number in range(_BAD)
    )
    assert {letter.reason for letter in letters} == {"malformed"}
    assert {letter.code for letter in letters} == {"effectmq_malformed"}
    assert all(letter.detail and letter.parked_by for letter in letters)

    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.ok == report.bodies == _GOOD
    assert len(report.unexpected) == _BAD, "the letters, which no producer of ours submitted"
    assert report.lost == report.conflicting == report.hanging == []
    assert report.left == {}
    assert [worker] == fleet.workers


async def _poison(fleet: Fleet) -> None:
    """Publish the bad ones among the good, as a producer with a broken encoder would."""
    rng = random.Random(_SEED)
    exchange = Names(fleet.namespace).work_exchange
    async with open_transport(fleet.broker, TransportSettings(name="poison")) as transport:
        for number in range(_BAD):
            body, content_type = malformed(rng, number)
            await transport.publish(
                exchange,
                "tool_call",
                Message(
                    body=body,
                    content_type=content_type,
                    type=ENVELOPE_TYPE,
                    correlation_id=f"poison-{number}",
                ),
            )
