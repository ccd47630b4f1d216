"""``effectmq versions``: list, ramp, drain and clear, as an operator types it."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.transports import open_transport
from effectmq.cli import main
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.topology import Names, TopologySettings
from tests.brokers.provide import Broker
from tests.front_door.cli.command import Result, effectmq


@pytest.mark.one_broker
async def test_versions_are_listed_ramped_and_drained(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As tables and as documents; the roster of workers knows the version, too."""
    at = ("--broker", broker.url, "--namespace", namespace)
    topology = TopologySettings(namespace=namespace)

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(effectmq, capsys, *words, *at)

    async def takes() -> dict[str, str]:
        rows = (await run("versions", "list", "--json")).documents
        return {row["version"]: row["takes"] for row in rows if row["route"] == "sleep"}

    assert "no worker was ever started" in (await run("versions", "list")).err
    old, new = (
        EffectWorker(broker.url, topology=topology, name=f"w{version}", version=version)
        for version in ("1", "2")
    )
    async with old, new:
        (row, *_) = (await run("workers", "list", "--json")).documents
        assert row["worker_version"] == "1"
        assert await takes() == {"": "any", "1": "any", "2": "any"}
        ramped = await run(
            "versions", "ramp", "sleep", "2", "--share", "0.25", "--by", "anna", "--why", "new"
        )
        assert ramped.code == 0, ramped.err
        assert "effectmq versions clear ends it" in ramped.err
        assert await takes() == {"": "rest", "1": "rest", "2": "0.25"}
        assert "0.25 of it to version 2: new" in (await run("versions", "list", "--full")).out
        drained = await run("versions", "drain", "sleep", "1", "--json")
        assert {one["did"] for one in drained.documents} == {"changed"}
        assert await takes() == {"": "any", "1": "none", "2": "any"}
        assert "no longer shared out" in (await run("versions", "clear", "sleep")).err
        assert await takes() == {"": "any", "1": "any", "2": "any"}
    async with open_transport(broker.url) as transport:
        for version in ("1", "2"):
            for route in (*old.routes,):
                await transport.delete(Names(namespace).work_queue(f"{route}@{version}"))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ramp", "sleep", "2"], "--share"),
        (["ramp", "slep", "2", "--share", "0.1"], "no effect kind 'slep'"),
        (["drain", "sleep", ""], "the version is empty"),
        (["drain", "sleep", "a b"], "the version is 'a b'"),
    ],
)
def test_a_slip_changes_nothing(
    words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versions", *words]) != 0
    assert found in capsys.readouterr().err
