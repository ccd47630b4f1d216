"""A share of what is bound to no version goes to one; a version that is drained takes none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.fleet.ramps import ramp_of, set_ramp
from effectmq.broker.client.fleet.versions import version_rows
from effectmq.broker.metrics import catalog
from effectmq.consumers.decisions.versions import ToVersion, in_share, ramped
from effectmq.consumers.fleet.ramps import RampLooks, Ramps
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.fleet.ramps import Ramp, ramp_message, read_ramp
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import ramp_topology
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, staged
from tests.consumers.worker.test_versions import worker
from tests.waiting import eventually

_SESSIONS = 60


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


async def spoken(client: EffectClient, turn_id: str) -> dict[str, set[str]]:
    """Which versions carried out the calls of each of many sessions, two calls each."""
    found: dict[str, set[str]] = {}

    async def one(name: str) -> None:
        turn = client.turn(name, turn_id)
        said = [
            (await turn.tool_call("who", {}, call_id=f"c{n}", timeout=PATIENCE_S)).value
            for n in range(2)
        ]
        found[name] = set(said)

    await asyncio.gather(*(one(f"s{n}") for n in range(_SESSIONS)))
    return found


def shares(found: dict[str, set[str]]) -> Counter[str]:
    """How many sessions each version had; one that had two fails."""
    assert all(len(versions) == 1 for versions in found.values())
    return Counter(version for versions in found.values() for version in versions)


# Decisions ---------------------------------------------------------------------------------------


def test_a_share_is_that_of_many_sessions_and_the_same_each_time() -> None:
    names = [f"session-{n}" for n in range(4_000)]
    chosen = [name for name in names if in_share(name, 0.1)]
    assert 300 < len(chosen) < 500
    assert chosen == [name for name in names if in_share(name, 0.1)]


def test_a_larger_share_takes_sessions_over_and_gives_none_back() -> None:
    names = [f"session-{n}" for n in range(1_000)]
    smaller = {name for name in names if in_share(name, 0.2)}
    assert smaller < {name for name in names if in_share(name, 0.5)}
    assert not any(in_share(name, 0.0) for name in names)
    assert all(in_share(name, 1.0) for name in names)


@pytest.mark.parametrize(
    ("share", "own", "goes"),
    [
        (1.0, "1", ToVersion("2")),
        (1.0, "", ToVersion("2")),
        (1.0, "2", None),
        (0.0, "1", None),
        (0.0, "2", None),
    ],
)
def test_where_the_unbound_go(share: float, own: str, goes: ToVersion | None) -> None:
    assert ramped(Ramp("2", share), own, "scope") == goes


@pytest.mark.parametrize(
    ("share", "takes"),
    [(0.0, (True, True, False)), (0.5, (True, True, False)), (1.0, (False, False, True))],
)
def test_who_takes_the_unbound(share: float, takes: tuple[bool, ...]) -> None:
    ramp = Ramp("2", share)
    assert tuple(ramp.takes_unbound(version) for version in ("", "1", "2")) == takes


@pytest.mark.parametrize(("version", "share"), [("", 0.5), ("a b", 0.5), ("2", -0.1), ("2", 1.1)])
def test_what_is_no_ramp_is_refused(version: str, share: float) -> None:
    with pytest.raises(ConfigurationError):
        Ramp(version, share)


def test_a_ramp_travels_and_rubbish_is_none() -> None:
    ramp = Ramp("2", 0.25, "anna", "new prompts", 5)
    assert read_ramp(ramp_message(ramp)) == ramp
    for body in (b"", b"[]", b'{"version": "2", "share": 7}', b'{"version": 2, "share": 0.1}'):
        assert read_ramp(Message(body=body, content_type="application/json")) is None


# Workers -----------------------------------------------------------------------------------------


async def two(stage: Stage) -> tuple[EffectWorker, EffectWorker, EffectClient]:
    """A worker of each version, and a client."""
    old = await stage.start(worker(stage, "1"))
    new = await stage.start(worker(stage, "2"))
    return old, new, await stage.client()


def ramp_shares(worker: EffectWorker) -> dict[tuple[str, ...], object]:
    """What a worker tells of ramps in its metrics."""
    return {one.labels: one.value for one in worker.readings() if one.metric is catalog.RAMP}


async def test_a_session_stays_with_one_version_while_a_share_is_ramped(stage: Stage) -> None:
    old, _, client = await two(stage)
    async with client.fleet(by="test") as fleet:
        heard = await fleet.ramp("tool_call", "2", 0.5)
        assert {reply.did for reply in heard.replies} == {"changed"}
        both = shares(await spoken(client, "half"))
        assert set(both) == {"1", "2"}
        assert old.counters["to_version"] == 2 * both["2"]
        await fleet.ramp("tool_call", "2", 1.0)
        assert set(shares(await spoken(client, "all"))) == {"2"}
        await fleet.ramp("tool_call", "2", 0.0)
        assert set(shares(await spoken(client, "none"))) == {"1"}


async def test_a_drained_version_takes_what_is_bound_to_it(stage: Stage) -> None:
    _, _, client = await two(stage)
    async with client.fleet() as fleet:
        await fleet.ramp("tool_call", "1", 0.0, why="it is old")
        assert set(shares(await spoken(client, "unbound"))) == {"2"}
        turn = client.turn("s", "bound", version="1")
        assert (await turn.tool_call("who", {}, call_id="c")).value == "1"
        transport = await stage.transport()
        rows = await version_rows(await fleet.workers(), transport, NAMES)
        takes = {row.version: row.takes for row in rows if row.route == "tool_call"}
        assert takes == {"": "any", "1": "none", "2": "any"}
        assert all((row.held, row.waiting) == (0, 0) for row in rows)


async def test_who_starts_later_knows_the_ramp(stage: Stage) -> None:
    transport = await stage.transport()
    await stage.start(worker(stage, "1"))
    await set_ramp(transport, NAMES, "tool_call", Ramp("2", 1.0))
    client = await stage.client()
    async with client.fleet() as fleet:
        await fleet.ramp("tool_call", "2", 1.0)
        waiting = asyncio.create_task(spoken(client, "s"))
        await eventually(lambda: stage.ready(NAMES.work_queue("tool_call")) >= _SESSIONS)
        await stage.start(worker(stage, "2"))
        assert set(shares(await waiting)) == {"2"}


async def test_what_is_bound_to_none_is_left_alone_while_its_ramp_cannot_be_read(
    stage: Stage,
) -> None:
    """The worker may be of a version that is drained; what is no ramp does not keep it for ever."""
    transport = await stage.transport()
    ramps = Ramps("1")
    looks = RampLooks(transport, NAMES, ["tool_call", "tool_call@1"], ramps)
    assert not await looks.look()
    assert ramps.takes("tool_call")
    # Its mark is there, and what it says is not.
    await transport.declare(ramp_topology(NAMES, "tool_call"), lasting=False)
    assert await looks.look()
    assert not ramps.takes("tool_call")
    assert ramps.takes("tool_call@1")
    assert looks.open
    ramps.unread["tool_call"] = 4
    assert await looks.look()
    assert ramps.takes("tool_call")
    ramps.unread["tool_call"] = 1
    await transport.publish("", NAMES.ramp_mark("tool_call"), ramp_message(Ramp("1", 1.0)))
    assert await looks.look()
    assert ramps.takes("tool_call")
    assert not ramps.unread


async def test_when_it_is_cleared_all_take_again(stage: Stage) -> None:
    old, new, client = await two(stage)
    transport = await stage.transport()
    async with client.fleet() as fleet:
        await fleet.ramp("tool_call", "2", 1.0)
        assert ramp_shares(old) == ramp_shares(new) == {("tool_call", "2"): 1.0}
        heard = await fleet.clear_ramp("tool_call")
        assert heard.changed == ("tool_call",)
        assert not ramp_shares(new)
        assert {reply.did for reply in heard.replies} == {"changed"}
        assert await ramp_of(transport, NAMES, "tool_call") is None
        assert (await fleet.clear_ramp("tool_call")).changed == ()
    before = old.counters["delivered"], new.counters["delivered"]
    # Whoever is asked takes: each in turn, as the broker gives.
    await spoken(client, "again")
    assert old.counters["delivered"] > before[0]
    assert new.counters["delivered"] > before[1]


async def test_a_ramp_of_what_is_no_route_is_refused(stage: Stage) -> None:
    _, _, client = await two(stage)
    async with client.fleet() as fleet:
        with pytest.raises(ConfigurationError, match="no effect kind"):
            await fleet.ramp("tool_cal", "2", 0.5)
        with pytest.raises(ConfigurationError, match="names a version"):
            await fleet.ramp("tool_call@2", "2", 0.5)
