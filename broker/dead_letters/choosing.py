"""
Finding the letters that are meant, before anything is done with them.

Whatever changes the queue chooses first: an ambiguous id is refused before anything happens, and
an effect that fails again and is parked again is not replayed for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from effectmq.broker.dead_letters.queue.browser import AT_ONCE, DeadBrowser, Turn
from effectmq.broker.dead_letters.queue.settling import Pending
from effectmq.broker.dead_letters.report import DeadReport, check_ids
from effectmq.broker.store.letters.filter import DeadFilter
from effectmq.broker.store.letters.index import LetterIndex
from effectmq.broker.store.letters.selecting import Cursor
from effectmq.broker.transports.port import Transport
from effectmq.protocol.messages.dead_letter import DeadLetter, read_dead_letter

__all__ = ["Choice", "Chooser", "IndexChooser", "QueueChooser"]

#: Called with each letter that is meant.
Look = Callable[[DeadLetter], Awaitable[None]]

#: So many letters are chosen, or read with their bodies, at a time.
_CHOSEN = 5_000
_READ = 100


class Choice(NamedTuple):
    """The letters that are meant, and how many others stand among them."""

    pending: Pending
    others: int


class Chooser(Protocol):
    """Finds the letters that are meant."""

    async def choose(
        self, chosen: DeadFilter, limit: int | None, report: DeadReport, look: Look | None
    ) -> Choice:
        """
        Find them.

        Args:
            chosen: Which.
            limit: How many altogether, the oldest first; all when not given.
            report: Where to count them, by reason.
            look: Called with each letter; ``None`` when only their ids are wanted.

        Raises:
            DeadLetterIdError: When an id names no letter, or more than one.
            BrokerError: When the letters cannot be looked at.
        """
        ...


class QueueChooser:
    """
    Looks through the queue, and gives everything back.

    Args:
        transport: An open transport.
        queue: The dead-letter queue.
        turn: How to wait until another reader has left.
    """

    def __init__(self, transport: Transport, queue: str, turn: Turn = AT_ONCE) -> None:
        self._transport = transport
        self._queue = queue
        self._turn = turn

    async def choose(
        self, chosen: DeadFilter, limit: int | None, report: DeadReport, look: Look | None
    ) -> Choice:
        """Find them; see ``Chooser``."""
        ids: list[str] = []
        async with DeadBrowser(self._transport, self._queue, chosen, turn=self._turn) as letters:
            async for letter in letters:
                if report.chosen == limit:
                    if chosen.ids:
                        continue  # an id that is ambiguous must be found to be so
                    break
                report.chosen += 1
                report.by_reason[letter.reason] += 1
                ids.append(letter.id)
                if look is not None:
                    await look(letter)
            else:
                report.unseen = letters.unseen
        check_ids(chosen, ids)
        return Choice(Pending(ids), letters.seen - report.chosen)


class IndexChooser:
    """
    Asks the index, which takes no message off the queue.

    Args:
        index: The index, as fresh as its user wants it.
    """

    def __init__(self, index: LetterIndex) -> None:
        self._index = index

    async def choose(
        self, chosen: DeadFilter, limit: int | None, report: DeadReport, look: Look | None
    ) -> Choice:
        """Find them; see ``Chooser``."""
        if chosen.ids:
            page = await self._index.page(DeadFilter(ids=chosen.ids), limit=_CHOSEN)
            check_ids(chosen, [letter.id for letter in page.letters])
        pending = Pending()
        after: Cursor | None = None
        left = limit
        while left is None or left > 0:
            size = _CHOSEN if left is None else min(_CHOSEN, left)
            found = await self._index.chosen(chosen, limit=size, after=after)
            for place, reason, copies in found:
                report.chosen += copies
                report.by_reason[reason] += copies
                pending.add(place.letter_id, copies)
            if look is not None:
                await self._show([place.letter_id for place, _, _ in found], look)
            if len(found) < size:
                break
            after = found[-1][0]
            left = None if left is None else left - len(found)
        pending.seal()
        counts = await self._index.counts()
        return Choice(pending, max(0, counts.messages - pending.total))

    async def _show(self, ids: list[str], look: Look) -> None:
        for start in range(0, len(ids), _READ):
            for found in await self._index.messages(ids[start : start + _READ]):
                if found is not None:
                    await look(read_dead_letter(*found))
