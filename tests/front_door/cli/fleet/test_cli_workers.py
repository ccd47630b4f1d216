"""``effectmq workers``, and what others say of a paused route, as an operator types it."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.cli import main
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.topology import TopologySettings
from tests.brokers.provide import Broker
from tests.front_door.cli.command import Result, effectmq
from tests.waiting import eventually


@pytest.mark.one_broker
async def test_workers_are_listed_and_steered(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As tables and as documents; ping, doctor and queues say why nobody takes from a route."""
    at = ("--broker", broker.url, "--namespace", namespace)

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(effectmq, capsys, *words, *at)

    nobody = await run("workers", "list")
    assert nobody.code == 1
    assert "no worker was ever started" in nobody.err
    worker = EffectWorker(
        broker.url,
        topology=TopologySettings(namespace=namespace),
        name="w\x1b[2J",
        app_version="7.1",
        concurrency=2,
    )
    working = asyncio.create_task(worker.run(["sleep"]))
    await eventually(lambda: worker.ready)
    listed = await run("workers", "list", "--json")
    assert listed.code == 0
    (row,) = listed.documents
    assert (row["state"], row["app_version"], row["slots"]) == ("ready", "7.1", 2)
    (route,) = row["routes"]
    assert (route["route"], route["consuming"], route["paused"]) == ("sleep", True, None)
    shown = await run("workers", "list")
    assert "0/2" in shown.out
    assert "\x1b[2J" not in shown.out
    paused = await run("workers", "pause", "sleep", "--why", "night", "--by", "anna", "--json")
    assert (paused.code, paused.documents[0]["did"]) == (0, "paused")
    assert "sleep is paused for all workers" in paused.err
    listed = await run("workers", "list")
    assert "!sleep" in listed.out
    assert "sleep is paused by anna: night" in listed.out
    assert "sleep is paused by anna: night" in (await run("queues", "--over", "1ms")).out
    queues = await run("queues", "--json", "--over", "500ms")
    by_route = {each["route"]: each for each in queues.documents if each["role"] == "work"}
    assert by_route["sleep"]["paused"]["by"] == "anna"
    assert "paused by anna: night" in (await run("ping", "sleep")).out
    assert "paused by anna: night" in (await run("doctor")).out
    resumed = await run("workers", "resume", "--all")
    assert resumed.code == 0
    assert "sleep is no longer paused" in resumed.err
    # A lane that nobody has is found by its name alone, and that is said.
    lane = await run("workers", "pause", "sleep.deep", "--by", "anna")
    assert "effectmq workers resume sleep.deep" in lane.err
    assert (await run("workers", "resume", "--all")).code == 0
    assert "sleep.deep is no longer paused" in (await run("workers", "resume", "sleep.deep")).err
    changed = await run("workers", "concurrency", "5", "sleep")
    assert "sleep: 2 to 5" in changed.out
    missing = await run("workers", "pause", "--worker", "ghost")
    assert missing.code == 1
    assert "no worker 'ghost'" in missing.err
    assert (await run("workers", "drain", "--all", "--json")).documents[0]["did"] == "draining"
    async with asyncio.timeout(30):
        await working
    assert "No worker runs" in (await run("workers", "list")).out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pause"], "nothing was named to pause"),
        (["drain"], "name workers with --worker NAME"),
        (["pause", "sleep", "--all"], "'sleep' was named too"),
        (["concurrency", "4"], "nothing was named"),
        (["concurrency", "0", "--all"], "a whole number above 0"),
        (
            ["concurrency", "70000", "--all", "--broker", "memory://"],
            "memory:// is a broker inside",
        ),
        (["pause", "slep"], "no effect kind 'slep'"),
    ],
)
def test_a_slip_stops_nothing(
    words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It must be said who is meant."""
    assert main(["workers", *words]) != 0
    assert found in capsys.readouterr().err
