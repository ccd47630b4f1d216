"""A cluster under load, one node of which dies: work goes on, and nothing is lost."""

from __future__ import annotations

from collections.abc import Generator

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
    """That which holds the replies is killed."""
    load = Load(cluster.url, namespace)
    async with load:
        await load.answered(10)
        home = cluster.nodes.index(cluster.leader(f"{namespace}.reply.p"))
        await strike(cluster, load, home, "kill")
    assert load.problems == []
    assert len(load.answers) == load.submitted
