"""
Outcomes whose bodies are kept out of line: fetched in parallel, settled when they are read.

A store that is down delays only these outcomes. They stay unsettled meanwhile, and the next process
of the identity gets them if this one ends. A body that is gone for good is reported to its callers.
A client without a store leaves such outcomes in the queue, for a client with one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from effectmq.broker.client.replies.book import ReplyBook
from effectmq.broker.store.attachments.large_bodies import LargeBodies, incoming_until_fetched
from effectmq.broker.transports.port import Delivery
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS, Limits
from effectmq.protocol.errors import AttachmentError, ProtocolError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import refuse_reference
from effectmq.protocol.messages.log_names import names_of_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import describe

__all__ = ["UNFETCHED_CODE", "LargeReplies"]

logger = logging.getLogger("effectmq.client")

#: The code of the controller error for an outcome whose body cannot be read.
UNFETCHED_CODE = "effectmq_outcome_unavailable"


class LargeReplies:
    """
    Fetches the outcomes that are kept out of line, and settles each when it is read.

    Args:
        bodies: Fetches bodies; ``None`` when there is no store.
        book: The callers that wait.
        read: Reads a complete message.
        counters: ``fetched`` and ``unfetched``.
    """

    def __init__(
        self,
        bodies: LargeBodies | None,
        book: ReplyBook,
        read: Callable[[Message, Limits], None],
        counters: Counter[str],
    ) -> None:
        self._bodies = bodies
        self._book = book
        self._read = read
        self._counters = counters
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, delivery: Delivery) -> None:
        """Handle an outcome whose body is out of line."""
        if self._bodies is None:
            self._leave(delivery)
            return
        task = asyncio.get_running_loop().create_task(self._fetch(self._bodies, delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop fetching; unread outcomes come back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fetch(self, bodies: LargeBodies, delivery: Delivery) -> None:
        try:
            message = await incoming_until_fetched(bodies, delivery.message)
        except (AttachmentError, ProtocolError) as problem:
            self._tell(delivery.message, describe(problem))
        else:
            self._counters["fetched"] += 1
            self._read(message, bodies.limits(DEFAULT_LIMITS))
        delivery.ack()

    def _leave(self, delivery: Delivery) -> None:
        try:
            refuse_reference(delivery.message)
        except ProtocolError as problem:
            self._tell(delivery.message, describe(problem))

    def _tell(self, message: Message, problem: str) -> None:
        self._counters["unfetched"] += 1
        told = self._book.fail(
            str(message.headers.get(names.HASH, "")),
            UNFETCHED_CODE,
            f"the effect gave an outcome, but it cannot be read: {problem}",
        )
        logger.error(
            "an outcome cannot be read: %s",
            problem,
            extra={
                "action": "reply_unfetched",
                "told": told,
                **names_of_message(message),
            },
        )
