"""
Without a journal: which living worker has held a message that came back?

The broker counts how often a message came back, but not why: the worker that held it died, or only
lost its connection. A living worker knows that it did not die. So each remembers its deliveries.
When a message comes back more often than this process can explain, it asks all workers how often
they had it. A return that no living worker explains was a death. A worker that does not answer in
time counts as dead, as one whose lease runs out does with a journal.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.cancel import Answered, Asked, answered_notice, asked_notice
from effectmq.protocol.text import describe

__all__ = ["ANSWER_S", "Witnesses", "message_key"]

logger = logging.getLogger("effectmq.worker")

#: How long the others may take to answer, in seconds.
ANSWER_S = 1.0
#: For this long after its own connection was lost, this worker asks again: the others may have lost
#: theirs for the same reason, and come back a little later.
_SETTLING_S = 10.0
#: How many settled messages are remembered: their acknowledgements may have been lost.
_MOST_SETTLED = 4_096


def message_key(message: Message) -> str:
    """A key that stays the same when a message comes back, and differs for every copy."""
    # A producer in another language may have given it no id.
    return message.message_id or f"{message.correlation_id} {crc32(message.body):08x}"


@dataclass(slots=True)
class _Open:
    """A question, and what was heard so far."""

    key: str
    own: int
    returns: int
    then: Callable[[int], None]
    heard: int = 0

    @property
    def explained(self) -> bool:
        """Whether a living worker has had it each time that it came back."""
        return self.own + self.heard >= self.returns


class Witnesses:
    """
    Remembers which messages this worker has held, and asks the others; shared by all its routes.

    Args:
        transport: Where to ask.
        exchange: The control exchange.
        queue: This worker's own control queue.
    """

    def __init__(self, transport: Transport, exchange: str, queue: str) -> None:
        self._transport = transport
        self._exchange = exchange
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._held: OrderedDict[str, int] = OrderedDict()
        self._in_hand: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._open: dict[int, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled_s = 0.0

    def deliver(self, message: Message) -> int:
        """Note a delivery; returns how often this process had the message before."""
        key = message.message_id or message_key(message)
        before = self._held.pop(key, 0)
        self._held[key] = before + 1
        self._in_hand[key] = self._in_hand.get(key, 0) + 1
        return before

    def settle(self, message: Message) -> None:
        """Note that it is settled; remembered for a while, because the broker may not know that."""
        key = message.message_id or message_key(message)
        left = self._in_hand.pop(key, 0) - 1
        if left > 0:
            self._in_hand[key] = left
        while len(self._held) > _MOST_SETTLED + len(self._in_hand):
            oldest = next((one for one in self._held if one not in self._in_hand), None)
            if oldest is None:
                return
            del self._held[oldest]

    def ask(self, message: Message, own: int, then: Callable[[int], None]) -> None:
        """
        Ask all workers how often they had a message.

        Args:
            message: The message.
            own: How often this process had it before.
            then: Called with the sum of that and all answers that came in time.
        """
        self._ask(_Open(message_key(message), own, message.returns, then))

    def _ask(self, question: _Open) -> None:
        number = next(self._numbers)
        self._open[number] = question
        self._send(self._exchange, "", asked_notice(Asked(question.key, number, self._queue)))
        self._loop.call_later(ANSWER_S, self._close, number)

    def _close(self, number: int) -> None:
        question = self._open.pop(number, None)
        if question is None:
            return
        if question.explained or self._loop.time() >= self._settled_s:
            question.then(question.own + question.heard)
        else:
            self._ask_anew(question)

    def renew(self, queue: str) -> None:
        """
        Ask the open questions again, with the whole time for each: answers may have been missed.

        Args:
            queue: The new control queue.
        """
        self._queue = queue
        self._settled_s = self._loop.time() + _SETTLING_S
        asked, self._open = self._open, {}
        for question in asked.values():
            self._ask_anew(question)

    def _ask_anew(self, question: _Open) -> None:
        """Ask under a new number, so that no earlier answer is counted twice."""
        question.heard = 0
        self._ask(question)

    def heed(self, said: Asked | Answered) -> None:
        """Answer a question of another worker, or take an answer to one of ours."""
        if isinstance(said, Answered):
            question = self._open.get(said.number)
            if question is not None:
                question.heard += said.times
                if question.explained:
                    self._close(said.number)
        elif said.reply_to != self._queue and said.key in self._held:
            answer = Answered(said.number, self._held[said.key])
            self._send("", said.reply_to, answered_notice(answer))

    def _send(self, exchange: str, key: str, message: Message) -> None:
        async def send() -> None:
            try:
                await self._transport.publish(exchange, key, message, timeout=ANSWER_S)
            except EffectmqError as problem:
                # As if no worker had heard it: the answers that come in time decide.
                logger.warning(
                    "the other workers could not be asked what they hold: %s",
                    describe(problem),
                    extra={"action": "witness_failed"},
                )

        task = self._loop.create_task(send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def abort(self) -> None:
        """Stop, because the worker leaves."""
        for task in self._tasks:
            task.cancel()
