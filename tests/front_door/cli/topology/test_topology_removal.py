"""``effectmq topology remove``: a namespace is taken away, unless it is used."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from effectmq.broker.client.fleet.marks import set_mark
from effectmq.broker.inventory import all_routes, full_topology
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.topology.removal import NamespaceInUseError, Removed, remove
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, reply_topology
from tests.brokers.provide import Broker
from tests.front_door.cli.command import Result, effectmq

_SETTINGS = TopologySettings(namespace="leaving", delay_levels_ms=(1_000, 2_000))
_NAMES = Names("leaving")
_ALL = full_topology(_SETTINGS, EFFECT_KINDS) | reply_topology(_SETTINGS, "p1")


async def _remove(transport: Transport, *, force: bool = False) -> list[Removed]:
    done: list[Removed] = []
    await remove(transport, _ALL, force=force, on_done=done.append)
    return done


async def test_everything_is_removed_and_there_is_nothing_to_remove_then() -> None:
    """Each object is told of, whether it was there or not."""
    async with open_transport("memory://removal-all") as transport:
        await transport.declare(_ALL)
        done = await _remove(transport)
        assert {one.fate for one in done} == {"removed"}
        assert len(done) == len(_ALL.queues) + len(_ALL.exchanges)
        assert all([await transport.stats(queue.name) is None for queue in _ALL.queues])
        assert not any([await transport.has_exchange(one.name) for one in _ALL.exchanges])
        assert {one.fate for one in await _remove(transport)} == {"missing"}


@pytest.mark.parametrize(
    "queue",
    [
        _NAMES.work_queue("sleep"), _NAMES.delay(2_000), _NAMES.limbo, _NAMES.dead,
        _NAMES.reply_queue("p1"),
    ],
)  # fmt: skip
async def test_a_message_that_waits_keeps_everything_where_it_is(queue: str) -> None:
    """In whichever queue; the error names it and the way out."""
    async with open_transport(f"memory://removal-{queue}") as transport:
        await transport.declare(_ALL)
        await transport.publish("", queue, Message(body=b"1"))
        with pytest.raises(NamespaceInUseError, match=f"{queue} .1 waiting.*--force"):
            await _remove(transport)
        assert all([await transport.stats(each.name) is not None for each in _ALL.queues])
        done = await _remove(transport, force=True)
        assert [one.ready for one in done if one.name == queue and one.object == "queue"] == [1]
        assert await transport.stats(queue) is None


async def test_a_consumer_keeps_everything_where_it_is() -> None:
    """What it holds is not visible, and it would declare what it misses again."""
    async with open_transport("memory://removal-consumer") as transport:
        await transport.declare(_ALL)
        consumer = await transport.consume(_NAMES.dead, prefetch=1)
        with pytest.raises(NamespaceInUseError, match=f"{_NAMES.dead} .1 consuming"):
            await _remove(transport)
        await consumer.close()
        await _remove(transport)


async def test_a_lane_that_was_not_named_keeps_its_exchange() -> None:
    """Its messages can still be reached, and the exchange is said to be left."""
    async with open_transport("memory://removal-lane") as transport:
        await transport.declare(full_topology(_SETTINGS, all_routes(["tool_call.gpu"])))
        left = [one for one in await _remove(transport) if one.fate == "left"]
        assert left == [Removed("exchange", _NAMES.work_exchange, "left")]
        assert await transport.stats(_NAMES.work_queue("tool_call.gpu")) is not None


async def _pause(url: str, names: Names) -> None:
    async with open_transport(url) as transport:
        assert await set_mark(transport, names, "sleep", Pause(by="anna"))


def test_a_namespace_is_removed_from_a_broker(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused while an effect waits; a dry run changes nothing; forced, it says what is gone."""
    at = ("--broker", broker.url, "--namespace", namespace)
    names = Names(namespace)

    def remove(*words: str) -> Result:
        return effectmq(capsys, "topology", "remove", *words, *at)

    kinds = ("--kind", "sleep", "--kind", "sleep.long", "--kind", "sleep#low")
    effectmq(capsys, "topology", "apply", *kinds, *at)
    effectmq(capsys, "submit", "--kind", "sleep", "--args", '{"duration_ms": 1}', *at)
    refused = remove()
    assert (refused.code, refused.out) == (1, "")
    assert f"{names.work_queue('sleep')} (1 waiting)" in refused.err
    assert remove("--force", "--dry-run").code == 0
    asyncio.run(_pause(broker.url, names))
    unnamed = remove("--force", "--json")
    states = Counter((row["object"], row["state"]) for row in unnamed.documents)
    assert unnamed.code == 0
    # With the mark of the route that was paused, and the queue of a priority.
    assert states["queue", "removed"] == 15
    assert states["queue", "missing"] == len(EFFECT_KINDS) - 1
    assert ("exchange", "left") not in states

    effectmq(capsys, "topology", "apply", "--kind", "sleep", "--kind", "sleep.long", *at)
    kept = remove()
    assert kept.code == 1
    assert "1 left" in kept.err
    assert "something is bound that was not named: a lane" in kept.err
    everything = remove("--kind", "sleep.long")
    assert everything.code == 0
    assert "0 left" in everything.err

    async def look() -> list[bool]:
        async with open_transport(broker.url) as transport:
            found = [await transport.stats(names.work_queue("sleep.long")) is not None]
            found += [await transport.has_exchange(names.work_exchange)]
            return found

    assert asyncio.run(look()) == [False, False]
