"""
Settling chosen dead letters one by one, over as many looks as it takes.

A look is bounded three ways. In time, because the broker closes a channel that holds a message
unsettled for half an hour, and a replay of thousands at a gentle rate takes longer. In what it
holds, so that letters which wait for their turn wait in the queue and not in our memory. And by
the connection: after a loss the next look goes on where this one was, and acknowledges again what
was done before when the broker did not hear of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from effectmq.broker.dead_letters.browser import DeadBrowser, DeadLettersLostError
from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.messages.dead_letter import DeadLetter

__all__ = ["Act", "Key", "key_of", "settle"]

#: Which message of the queue: the letter's id, and the message's own, which tells copies apart.
Key = tuple[str, str]

#: What to do with a letter; it acknowledges, and says whether it did.
Act = Callable[[Delivery, DeadLetter], Awaitable[bool]]

_LONGEST_LOOK_S = 600.0
_LOSSES = 3
_ROOM = 100


def key_of(letter: DeadLetter) -> Key:
    """Which message of the queue a letter is."""
    return letter.id, letter.message.message_id


async def settle(
    transport: Transport, queue: str, pending: Counter[Key], others: int, act: Act
) -> int:
    """
    Give each pending letter its turn, once.

    Args:
        transport: An open transport.
        queue: The dead-letter queue.
        pending: The letters to settle.
        others: How many letters that are not pending stand among them.
        act: What to do with each.

    Returns:
        How many of the pending were not there any more.

    Raises:
        DeadLettersLostError: When the connection is lost again and again.
    """
    work = _Work(pending, others, act)
    losses = 0
    while True:
        before = work.left
        try:
            await work.look(transport, queue)
        except DeadLettersLostError:
            losses += 1
            if losses == _LOSSES:
                raise
            work.unsure = True
            continue
        if not work.left or work.left == before:
            return work.left


class _Work:
    """What is left to do, from look to look."""

    def __init__(self, pending: Counter[Key], others: int, act: Act) -> None:
        self._pending = pending
        self._act = act
        self._done: set[Key] = set()
        self.left = pending.total()
        self.staying = others
        #: Whether the broker may not have heard of something that is done.
        self.unsure = False

    async def look(self, transport: Transport, queue: str) -> None:
        # All that stays must fit, or nothing behind it is ever seen; double it, so that a queue
        # full of letters which cannot be replayed takes a few looks and not hundreds.
        held = 2 * self.staying + _ROOM
        loop = asyncio.get_running_loop()
        end = loop.time() + _LONGEST_LOOK_S
        kept = 0
        async with DeadBrowser(transport, queue, most=held) as letters:
            while (self.left or self.unsure) and kept < held and loop.time() < end:
                taken = await letters.take()
                if taken is None:
                    self.unsure = False
                    return
                if await self._turn(*taken):
                    letters.settled()
                else:
                    kept += 1
            letters.check()

    async def _turn(self, delivery: Delivery, letter: DeadLetter) -> bool:
        """One letter, whether its turn has come or not; true when it is off the queue now."""
        key = key_of(letter)
        if self._pending[key] > 0:
            self._pending[key] -= 1
            self.left -= 1
            if await self._act(delivery, letter):
                self._done.add(key)
                return True
            self.staying += 1
            return False
        if key in self._done and delivery.redelivered:
            # Done in an earlier look, whose acknowledgement was lost with the connection.
            delivery.ack()
            return True
        return False
