"""
Settling chosen dead letters one by one, in as many looks as needed.

A look is limited in time, because other readers wait for the queue, and the broker closes a channel
that holds a message unsettled for half an hour. It is limited in the letters that it holds, so that
the others wait in the queue and not in memory. And it ends with the connection: the next look goes
on from there, and acknowledges again what the broker did not hear of.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable

from effectmq.broker.dead_letters.queue.browser import (
    DeadBrowser,
    DeadLettersInUseError,
    DeadLettersLostError,
    Turn,
)
from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.messages.dead_letter import DeadLetter

__all__ = ["PATIENT", "Act", "Pending", "settle"]

#: Handles a letter; it acknowledges the letter and returns whether it did.
Act = Callable[[Delivery, DeadLetter], Awaitable[bool]]

_LONGEST_LOOK_S = 60.0
#: Wait longer for a turn at the queue than the look of another reader may take.
PATIENT = Turn(90.0)
#: How long the queue is left to others between two looks, in seconds: longer than they wait before
#: they ask again.
_BETWEEN_S = 0.2
_LOSSES = 3
_ROOM = 100


class Pending:
    """
    The letters that are to be settled, in ten bytes each, however many they are.

    Args:
        ids: The letters' ids, one for each message.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        #: Messages that are left to settle, and how many there were.
        self.left = self.total = 0
        self._numbers: array[int] = array("Q")
        self._waits = bytearray()
        #: Of the few that have several messages, how many more than one.
        self._more: dict[int, int] = {}
        self._copied: frozenset[int] = frozenset()
        for each in ids:
            self._numbers.append(int(each, 16))
        self.seal()

    def add(self, letter_id: str, messages: int = 1) -> None:
        """Add a letter; ``seal`` when all are there."""
        self._numbers.extend([int(letter_id, 16)] * messages)

    def seal(self) -> None:
        """Begin to give them out."""
        given = array("Q", sorted(self._numbers))
        self._numbers = array("Q")
        for number in given:
            if self._numbers and self._numbers[-1] == number:
                self._more[number] = self._more.get(number, 0) + 1
            else:
                self._numbers.append(number)
        self.left = self.total = len(given)
        self._waits = bytearray(b"\x01") * len(self._numbers)
        self._copied = frozenset(self._more)

    def take(self, letter_id: str) -> bool:
        """Whether a message of this letter is to be settled, which it then is."""
        number = int(letter_id, 16)
        place = bisect_left(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            return False
        if self._more.get(number):
            self._more[number] -= 1
        elif self._waits[place]:
            self._waits[place] = 0
        else:
            return False
        self.left -= 1
        return True

    def is_copied(self, letter_id: str) -> bool:
        """Whether there are several messages of this letter."""
        return int(letter_id, 16) in self._copied


async def settle(
    transport: Transport,
    queue: str,
    pending: Pending,
    others: int,
    act: Act,
    turn: Turn | None = None,
) -> int:
    """
    Give each pending letter its turn, once.

    Args:
        transport: An open transport.
        queue: The dead-letter queue.
        pending: The letters to settle.
        others: How many letters that are not pending stand among them.
        act: What to do with each.
        turn: How to wait until others have left; patiently when not given.

    Returns:
        How many of the pending letters were no longer there.

    Raises:
        DeadLettersInUseError: When others have the queue all the time.
        DeadLettersLostError: When the connection is lost again and again.
    """
    work = _Work(pending, others, act, turn or PATIENT)
    losses = 0
    while True:
        before = pending.left
        try:
            seen_all = await work.look(transport, queue)
        except (DeadLettersLostError, DeadLettersInUseError):
            losses += 1
            if losses == _LOSSES:
                raise
            work.unsure = True
            continue
        if not pending.left or (seen_all and pending.left == before):
            return pending.left
        if pending.left == before:
            # More stand before them than anybody had counted.
            work.staying = 2 * work.staying + _ROOM
        await asyncio.sleep(_BETWEEN_S)


class _Work:
    """The rest of the work, from look to look."""

    def __init__(self, pending: Pending, others: int, act: Act, turn: Turn) -> None:
        self._pending = pending
        self._act = act
        self._for = turn
        #: Messages that were settled in this look and in the one before: their acknowledgement may
        #: have been lost.
        self._done: set[int] = set()
        self._done_before: set[int] = set()
        self.staying = others
        #: Whether the broker may not have heard of an acknowledgement.
        self.unsure = False

    async def look(self, transport: Transport, queue: str) -> bool:
        """One look; whether it saw the end of the queue."""
        # All that stays must fit, or nothing behind it is ever seen; double it, so that a queue
        # full of letters which cannot be replayed takes a few looks and not hundreds.
        held = 2 * self.staying + _ROOM
        loop = asyncio.get_running_loop()
        kept = settled = 0
        seen_all = False
        async with DeadBrowser(transport, queue, most=held, turn=self._for) as letters:
            end = loop.time() + _LONGEST_LOOK_S
            while (self._pending.left or self.unsure) and kept < held:
                if settled and loop.time() >= end:
                    break
                taken = await letters.take()
                if taken is None:
                    self.unsure = False
                    seen_all = True
                    break
                if await self._turn(*taken):
                    letters.settled()
                    settled += 1
                else:
                    kept += 1
            letters.check()
        if not self.unsure:
            self._done_before, self._done = self._done, set()
        return seen_all

    async def _turn(self, delivery: Delivery, letter: DeadLetter) -> bool:
        """One letter, whether its turn has come or not; true when it is off the queue now."""
        letter_id = letter.id
        # The message's own id tells copies of a letter apart.
        message = hash((letter_id, letter.message.message_id))
        if delivery.redelivered and (message in self._done or message in self._done_before):
            # Done in an earlier look, whose acknowledgement was lost with the connection.
            delivery.ack()
            return True
        if not self._pending.take(letter_id):
            return False
        if await self._act(delivery, letter):
            self._done.add(message)
            return True
        self.staying += 1
        return False
