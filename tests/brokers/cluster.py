"""
A private cluster of RabbitMQ nodes: one broker, each node of which can be killed or frozen alone.

The nodes share a cookie and a register of names and nothing else; the others join the first one.
About 150 MB of memory for each node.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tests.brokers.finding import Installation
from tests.brokers.node import BrokerNode, Family, NodeError

__all__ = ["BrokerCluster"]

_FORM_SECONDS = "60"
#: When the nodes give up on one that is silent; 60 s by default. Until then RabbitMQ waits for it
#: wherever all nodes must agree, and for the queues that it leads.
_TICK_S = 8


class BrokerCluster:
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
        self.nodes = [BrokerNode(installation, family) for _ in range(size)]
        self._formed = False
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

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """
        Start every node that is not running, and wait until all see each other.

        Raises:
            NodeError: When they do not, within a minute.
        """
        first, *others = self.nodes
        # The first one also starts the register of names, which the others find then.
        first.start()
        with ThreadPoolExecutor(len(others)) as starting:
            list(starting.map(BrokerNode.start, others))
        if not self._formed:
            for other in others:
                other.ctl("stop_app")
                other.ctl("join_cluster", first.name)
                other.ctl("start_app")
            self._formed = True
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """
        Wait until every node says that all are running.

        Raises:
            NodeError: When one does not, within a minute.
        """
        for node in self.nodes:
            node.ctl("await_online_nodes", str(len(self.nodes)), "--timeout", _FORM_SECONDS)

    def settle(self) -> None:
        """
        Wait until every node may be killed without losing its part of a queue; see ``BrokerNode``.

        A part that is lost makes the next loss of another node one too many.
        """
        for node in self.nodes:
            node.settle()

    def leader(self, queue: str) -> BrokerNode:
        """
        The node on which the leader of a queue lives.

        Raises:
            NodeError: When there is no such queue.
        """
        for asked in self.nodes:
            if asked.pid is None:
                continue
            for line in asked.ctl("list_queues", "name", "pid").splitlines():
                name, _, pid = line.partition("\t")
                for node in self.nodes:
                    if name == queue and node.name in pid:
                        return node
            break
        raise NodeError(f"no node leads a queue {queue!r}")

    def close(self) -> None:
        """Kill all of them and remove every trace."""
        for node in self.nodes:
            node.close()
