"""
A private cluster of RabbitMQ nodes: one broker, each node of which can be killed or frozen alone.

The nodes share a cookie and a register of names and nothing else; the others join the first one.
About 150 MB of memory for each node.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.brokers.finding import Installation
from tests.brokers.node import BrokerNode, Family, Startable

__all__ = ["BrokerCluster"]

_FORM_SECONDS = "60"
#: When the nodes give up on one that is silent; 60 s by default. Until then RabbitMQ waits for it
#: wherever all nodes must agree, and for the queues that it leads.
_TICK_S = 8


class BrokerCluster(Startable):
    """
    Nodes of one cluster, made stopped. Use as a context manager.

    Args:
        installation: The programs of all nodes.
        size: How many nodes.

    Attributes:
        nodes: In the order in which they were started.
        urls: The AMQP address of each node.
    """

    def __init__(self, installation: Installation, size: int = 3) -> None:
        family = Family(tick_s=_TICK_S)
        first = BrokerNode(installation, family)
        joining = replace(family, first=first.name)
        self.nodes = [first, *(BrokerNode(installation, joining) for _ in range(size - 1))]
        self.version = installation.version

    @property
    def urls(self) -> list[str]:
        """The AMQP address of each node."""
        return [node.url for node in self.nodes]

    @property
    def url(self) -> str:
        """All nodes in one address."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"amqp://guest:guest@{hosts}/"

    def start(self) -> None:
        """
        Start every node that is not running, and wait until they are one cluster.

        Raises:
            NodeError: When they do not, within a minute.
        """
        first, *others = self.nodes
        # The first one also starts the register of names, which the others find then.
        first.start()
        with ThreadPoolExecutor(len(others)) as starting:
            list(starting.map(BrokerNode.start, others))
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """
        Wait until a node says that all are running.

        Raises:
            NodeError: When it does not, within a minute.
        """
        self.nodes[-1].ctl("await_online_nodes", str(len(self.nodes)), "--timeout", _FORM_SECONDS)

    def settle(self) -> None:
        """
        Wait until every node may be killed without losing its part of a queue; see ``BrokerNode``.

        A part that is lost makes the next loss of another node one too many.
        """
        for node in self.nodes:
            node.settle()

    def gather(self, node: BrokerNode) -> None:
        """
        Let one node lead every quorum queue, so that its loss is the worst that there is.

        Raises:
            NodeError: When it cannot.
        """
        node.ctl(
            "eval",
            f"[rabbit_quorum_queue:transfer_leadership(Q, '{node.name}') || "
            "Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue].",
        )

    def close(self) -> None:
        """Kill all of them and remove every trace."""
        for node in self.nodes:
            node.close()
