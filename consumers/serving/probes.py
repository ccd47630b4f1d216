"""Answers to probes: whoever sent one only asks whether messages arrive here."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.probe import probe_answer

__all__ = ["ProbeAnswers"]

#: Answers that may be under way at a time, and how long each may take, in seconds.
_MOST_PROBES = 16
_PROBE_S = 5.0


class ProbeAnswers:
    """
    Answers probes in the name of a worker.

    Args:
        name: The worker's.
        transport: An open one.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self.tasks: set[asyncio.Task[None]] = set()

    def answer(self, delivery: Delivery) -> None:
        """Settle a probe, and answer it when it says where to."""
        delivery.ack()
        if delivery.message.reply_to and len(self.tasks) < _MOST_PROBES:
            task = asyncio.get_running_loop().create_task(
                self._say_here(delivery.message), name="effectmq probe"
            )
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _say_here(self, asked: Message) -> None:
        answer = probe_answer(asked, self._name)
        # Who asked may be gone by now, and asks again if it is not.
        with suppress(BrokerError):
            await self._transport.publish("", asked.reply_to, answer, timeout=_PROBE_S)
