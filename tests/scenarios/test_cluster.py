"""A cluster under load, one node of which dies or freezes: work goes on, and nothing is lost."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.brokers.cluster import BrokerCluster
from tests.brokers.provide import Brokers
from tests.conftest import _have
from tests.scenarios.cluster import Load, strike

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster(
    brokers: Brokers, broker_name: str, pytestconfig: pytest.Config
) -> Generator[BrokerCluster]:
    """Three nodes for the tests of this file."""
    made = _have(pytestconfig, brokers.cluster, broker_name)
    try:
        yield made
    finally:
        made.close()


async def test_without_a_journal_no_outcome_is_lost_with_a_node(
    cluster: BrokerCluster, namespace: str
) -> None:
    """That which leads the replies is killed."""
    load = Load(cluster.url, namespace)
    async with load:
        await load.answered(10)
        home = cluster.nodes.index(cluster.leader(f"{namespace}.reply.p"))
        await strike(cluster, load, home, "kill")
    assert load.problems == []
    assert len(load.answers) == load.submitted


async def test_with_a_journal_every_outcome_is_the_recorded_one(
    cluster: BrokerCluster, namespace: str, tmp_path: Path
) -> None:
    """The node that leads the work is frozen, and given up by the others."""
    load = Load(cluster.url, namespace, f"sqlite:///{tmp_path}/j.db")
    async with load:
        await load.answered(10)
        home = cluster.nodes.index(cluster.leader(f"{namespace}.work.tool_call"))
        await strike(cluster, load, home, "freeze")
    assert load.problems == []
    assert len(load.answers) == load.submitted
