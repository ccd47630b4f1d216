"""A cluster under load, one node of which dies or freezes: work goes on, and nothing is lost."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.brokers.cluster import BrokerCluster
from tests.brokers.provide import Brokers
from tests.conftest import _have
from tests.scenarios.cluster import Load, strike

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(420)]


@pytest.fixture
def cluster(
    brokers: Brokers, broker_name: str, pytestconfig: pytest.Config
) -> Generator[BrokerCluster]:
    """Three nodes."""
    made = _have(pytestconfig, brokers.cluster, broker_name)
    try:
        yield made
    finally:
        made.close()


async def test_nothing_is_lost_with_any_one_node(
    cluster: BrokerCluster, namespace: str, tmp_path: Path
) -> None:
    """
    With and without a journal at the same time, on the same nodes.

    First the node that leads all queues is killed and comes back, then another one that leads by
    then freezes, and is given up by the others.
    """
    journal = f"sqlite:///{tmp_path}/j.db"
    async with (
        Load(cluster.url, f"{namespace}-1") as plain,
        Load(cluster.url, f"{namespace}-2", journal) as kept,
    ):
        for load in (plain, kept):
            await load.answered(10)
        await strike(cluster, plain, 1, "kill")
        await strike(cluster, plain, 2, "freeze", last=True)
        await kept.answered(5)
    for load in (plain, kept):
        assert load.problems == []
        assert len(load.answers) == load.submitted
