"""
A queue that belongs to its connection, for what is said to everybody.

Each subscription makes another one. A name that was used before could still be held by a connection
of ours that the broker has not given up yet, or be known to a node that is down.
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
        exchange: What it is bound to; a fanout.
        name: Gives a name that no queue ever had.
    """

    def __init__(self, exchange: str, name: Callable[[], str]) -> None:
        self._exchange = exchange
        self._name = name

    async def make(self, channel: Channel) -> str:
        """
        Declare and bind one on a channel; its name.

        Raises:
            BrokerError: When that is refused, or not answered.
        """
        name = self._name()
        await channel.declare_own(name)
        await channel.bind(Binding(self._exchange, name, ""))
        return name
