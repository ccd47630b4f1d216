"""
Making the index agree with the queue.

RabbitMQ tells quickly how many messages wait in a queue. While the index has as many, it is taken
for right. When it has not, or the queue is so short that it costs nothing, there is a walk: it
takes every message unsettled, adds what the index lacks, drops what the queue lacks, and gives
everything back. During a walk or an action other programs read the index as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.broker.dead_letters.content import fetch_content
from effectmq.broker.dead_letters.queue.browser import (
    WHOLE,
    DeadBrowser,
    DeadLettersInUseError,
    Turn,
)
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.letters.facts import row_of
from effectmq.broker.store.letters.index import LetterIndex, NotedLetter, Walk
from effectmq.broker.transports.port import Transport
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import DeadLetter

__all__ = ["Freshness", "refreshed", "walked"]

_BATCH = 500
_NOT_AT_ALL = Turn(0.0)


@dataclass(frozen=True, slots=True)
class Freshness:
    """
    How far the index is to be believed.

    Attributes:
        exact: It has what the queue has, as far as the broker tells.
        walked: The queue was walked for it just now.
        messages: How many messages the broker said that wait, when it was asked.
    """

    exact: bool
    walked: bool
    messages: int


async def refreshed(
    transport: Transport,
    queue: str,
    index: LetterIndex,
    *,
    thorough: bool,
    turn: Turn,
    bodies: LargeBodies | None = None,
) -> Freshness:
    """
    Make the index agree with the queue, if it does not seem to.

    Args:
        transport: An open transport.
        queue: The dead-letter queue.
        index: Its index.
        thorough: Walk a queue that is short also when the numbers agree.
        turn: How to wait for a turn at the queue when the index is empty.
        bodies: Fetches bodies that are kept out of line, to know what is in them.

    Raises:
        TopologyError: When there is no dead-letter queue.
        DeadLettersInUseError: When the index is empty, and others have the queue all the time.
        DeadLettersLostError: When the connection was lost.
    """
    stats = await transport.stats(queue)
    ready = stats.ready if stats is not None else 0
    counts = await index.counts()
    agree = stats is not None and ready == counts.messages and not stats.consumers
    if agree and (not thorough or ready > WHOLE):
        return Freshness(True, False, ready)
    if stats is not None and stats.consumers and counts.messages:
        return Freshness(False, False, ready)
    try:
        found = await walked(
            transport,
            queue,
            index,
            turn=_NOT_AT_ALL if counts.messages else turn,
            bodies=bodies,
        )
    except DeadLettersInUseError:
        if not counts.messages:
            raise
        return Freshness(False, False, ready)
    return Freshness(True, True, found)


async def walked(
    transport: Transport,
    queue: str,
    index: LetterIndex,
    *,
    turn: Turn,
    bodies: LargeBodies | None = None,
) -> int:
    """
    See the whole queue, and make the index agree with it.

    Returns:
        How many messages there are.

    Raises:
        DeadLettersInUseError: When others have the queue all the time.
        DeadLettersLostError: When the connection was lost; nothing was dropped from the index.
    """
    walk = await index.begin_walk()
    batch: list[DeadLetter] = []
    async with DeadBrowser(transport, queue, turn=turn) as letters:
        async for letter in letters:
            batch.append(letter)
            if len(batch) == _BATCH:
                await _see(index, walk, batch, bodies)
                batch.clear()
        letters.check()
        seen_all = not letters.unseen
    await _see(index, walk, batch, bodies)
    if seen_all:
        await index.end_walk(walk)
    return letters.seen


async def _see(
    index: LetterIndex, walk: Walk, batch: list[DeadLetter], bodies: LargeBodies | None
) -> None:
    if not batch:
        return
    ids = [letter.id for letter in batch]
    unknown = await index.unknown(ids)
    await index.see(
        walk,
        [each for each in ids if each not in unknown],
        [
            await _noted(letter, bodies)
            for each, letter in zip(ids, batch, strict=True)
            if each in unknown
        ],
    )


async def _noted(letter: DeadLetter, bodies: LargeBodies | None) -> NotedLetter:
    tree: object = None
    if bodies is not None and names.BODY in letter.message.headers:
        tree = (await fetch_content(letter, bodies=bodies)).tree
    # Its route is the key that it came with, or says more than that.
    return NotedLetter(row_of(letter, tree), letter.message, letter.route)
