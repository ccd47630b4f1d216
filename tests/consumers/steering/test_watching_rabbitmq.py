"""Watching on a real RabbitMQ: what is copied, and after a lost connection."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.fleet import watching
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.topology import Names, TopologySettings
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode, RuntimeEffectEnvelope
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.consumers.stage import outcome
from tests.waiting import eventually

pytestmark = pytest.mark.one_broker


async def test_an_effect_is_watched_over_a_lost_connection(
    broker: Broker, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of who watches is a new one then, and the watch goes on there."""
    monkeypatch.setattr(watching, "_AGAIN_S", 0.2)
    topology = TopologySettings(namespace=namespace)
    words: asyncio.Queue[str | None] = asyncio.Queue()
    worker = EffectWorker(broker.url, topology=topology, name="speaker")

    @worker.handler("exec_code")
    async def speak(command: object, context: EffectContext) -> object:
        while (word := await words.get()) is not None:
            context.stream(word)
        return {"type": "exec_code", "result": {"Err": "the end"}}

    async with (
        asyncio.timeout(60),
        ChaosProxy.to(broker.url) as proxy,
        worker,
        EffectClient(broker.url, topology=topology) as client,
        open_transport(proxy.url(broker.url), TransportSettings()) as transport,
        Fleet(transport, Names(namespace)) as fleet,
    ):
        envelope = RuntimeEffectEnvelope(
            invocation=client.turn("s", "t").invocation("exec_code"),
            command=RuntimeEffectCommandExecCode(code="tell"),
        )
        handle = await client.submit(envelope)
        inflight = worker._running._inflight  # type: ignore[union-attr]
        await eventually(lambda: len(inflight) == 1)
        (identity,) = inflight._leaders
        async with fleet.watch(identity.scope_id, identity.replay_key) as watch:
            words.put_nowait("one")
            assert (await anext(watch)).text == "one"
            former = fleet._consumer.queue  # type: ignore[union-attr]
            proxy.cut()
            watched = worker._running._chunks.watches.by_effect  # type: ignore[union-attr]
            # Asked for again, from a queue that is not the former one.
            await eventually(
                lambda: any(one.reply_to != former for one in watched.get(identity, []))
            )
            words.put_nowait("two")
            words.put_nowait(None)
            found = [piece.text async for piece in watch]
        assert found == ["two"]
        await outcome(handle)
        async with fleet.watch(identity.scope_id, identity.replay_key) as watch:
            assert [piece async for piece in watch] == []
