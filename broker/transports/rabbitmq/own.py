"""
A queue that belongs to its connection, for messages to everybody.

Each subscription declares a queue with a new name. An old name could still belong to a lost
connection that the broker has not given up yet, or to a node that is down.
"""

from __future__ import annotations

from collections.abc import Callable

from effectmq.broker.transports.rabbitmq.driver import Channel
from effectmq.protocol.topology import Binding

__all__ = ["OwnQueue"]


class OwnQueue:
    """
    A queue of this connection alone, bound to an exchange.

    Args:
        exchange: The fanout exchange that it is bound to.
        name: Returns a name that no queue ever had.
    """

    def __init__(self, exchange: str, name: Callable[[], str]) -> None:
        self._exchange = exchange
        self._name = name

    async def make(self, channel: Channel) -> str:
        """
        Declare and bind such a queue on a channel; returns its name.

        Raises:
            BrokerError: When the broker refuses it, or does not answer.
        """
        name = self._name()
        await channel.declare_own(name)
        await channel.bind(Binding(self._exchange, name, ""))
        return name
