"""
Settling chosen dead letters one by one, in as many looks as needed.

A look has three limits. Time: the broker closes a channel that holds a message unsettled for half
an hour, and a slow replay of thousands takes longer. Memory: letters that wait for their turn stay
in the queue. And the connection: after a loss the next look continues, and acknowledges again what
the broker may not have heard.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from effectmq.broker.dead_letters.browser import DeadBrowser, DeadLettersLostError
from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.messages.dead_letter import DeadLetter

__all__ = ["Act", "Key", "key_of", "settle"]

#: Identifies a message of the queue: the letter's id, and the message's id, which differs in
#: copies.
Key = tuple[str, str]

#: Handles a letter; it acknowledges the letter and returns whether it did.
Act = Callable[[Delivery, DeadLetter], Awaitable[bool]]

_LONGEST_LOOK_S = 600.0
_LOSSES = 3
_ROOM = 100


def key_of(letter: DeadLetter) -> Key:
    """The key of a letter's message."""
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
        others: The number of letters between them that are not pending.
        act: Handles each letter.

    Returns:
        How many of the pending letters were no longer there.

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
    """The rest of the work, from look to look."""

    def __init__(self, pending: Counter[Key], others: int, act: Act) -> None:
        self._pending = pending
        self._act = act
        self._done: set[Key] = set()
        self.left = pending.total()
        self.staying = others
        #: Whether the broker may not have heard of an acknowledgement.
        self.unsure = False

    async def look(self, transport: Transport, queue: str) -> None:
        # All letters that stay must fit, or those after them are never seen. Double the size, so
        # that a queue full of letters that cannot be replayed takes a few looks and not hundreds.
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
        """Handle one letter, if it is its turn; returns whether it has left the queue."""
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
