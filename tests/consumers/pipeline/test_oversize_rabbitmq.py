"""Bodies that are over a worker's limit, on a real RabbitMQ: parked whole, told, replayed."""

from __future__ import annotations

import asyncio

import aiormq
import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.dead_letters.filter import EVERY_LETTER
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.topology import Names, TopologySettings
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode, RuntimeEffectEnvelope
from tests.brokers.provide import Broker
from tests.waiting import eventually

pytestmark = pytest.mark.one_broker

_LIMIT = 64 * 1024
_WIDE = TransportSettings(max_body_bytes=1024 * 1024)


def measuring(broker: Broker, namespace: str, limit: int) -> EffectWorker:
    worker = EffectWorker(
        broker.url,
        topology=TopologySettings(namespace=namespace),
        settings=WorkerSettings(max_body_bytes=limit, shutdown_grace_s=1.0),
        name="small",
    )

    @worker.handler("exec_code")
    async def code(command: RuntimeEffectCommandExecCode, context: EffectContext) -> object:
        return {"type": "exec_code", "result": {"Err": str(len(command.code))}}

    return worker


async def the_letter(letters: DeadLetters) -> DeadLetter:
    found: list[DeadLetter] = []

    async def is_there() -> bool:
        async with letters.browse() as browser:
            found[:] = [letter async for letter in browser]
        return len(found) == 1

    await eventually(is_there)
    return found[0]


async def test_a_body_over_the_workers_limit_is_parked_whole_told_and_replayed(
    broker: Broker, namespace: str
) -> None:
    topology = TopologySettings(namespace=namespace)
    async with (
        asyncio.timeout(60),
        EffectClient(broker.url, topology=topology, transport=_WIDE) as client,
        open_transport(broker.url, _WIDE) as transport,
    ):
        letters = DeadLetters(transport, topology)
        envelope = RuntimeEffectEnvelope(
            invocation=client.turn("s", "t").invocation("exec_code"),
            command=RuntimeEffectCommandExecCode(code="x" * 70_000),
        )
        async with measuring(broker, namespace, _LIMIT) as worker:
            with pytest.raises(EffectFailedError, match=f"the limit of this worker is {_LIMIT}"):
                await client.execute(envelope, timeout=40)
            letter = await the_letter(letters)
            assert (letter.reason, len(letter.message.body) > 70_000) == ("malformed", True)
            assert worker.counters["rejected_oversize"] == 1
        async with measuring(broker, namespace, 1024 * 1024) as worker:
            assert (await letters.replay(EVERY_LETTER)).done == 1
            await eventually(lambda: worker.counters["completed"] == 1)


async def test_what_no_worker_can_publish_again_is_dead_lettered_by_the_broker(
    broker: Broker, namespace: str
) -> None:
    """Byte for byte, and the worker goes on with what comes after it."""
    names = Names(namespace)
    body = b"x" * (HARD_MAX_BODY_BYTES + 1)
    async with (
        asyncio.timeout(60),
        measuring(broker, namespace, _LIMIT) as worker,
        EffectClient(broker.url, topology=TopologySettings(namespace=namespace)) as client,
    ):
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel()
        await channel.basic_publish(body, exchange=names.work_exchange, routing_key="exec_code")
        envelope = RuntimeEffectEnvelope(
            invocation=client.turn("s", "t").invocation("exec_code"),
            command=RuntimeEffectCommandExecCode(code="four"),
        )
        outcome = await client.execute(envelope, timeout=40)
        assert outcome.failure is not None
        dead = []

        async def is_dead() -> bool:
            got = await channel.basic_get(names.dead, no_ack=False)
            dead.extend([got] if got.body else [])
            return bool(dead)

        await eventually(is_dead)
        assert dead[0].body == body
        assert worker.ready
        await channel.basic_ack(dead[0].delivery.delivery_tag)
        await connection.close()
