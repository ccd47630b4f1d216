"""
The reply queue of one open client: outcomes are read, settled and passed on.

It survives its connection. When the queue was lost and declared anew, the client is told and asks
again for outcomes that may be lost.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from effectmq.broker.client.replies.book import ReplyBook
from effectmq.broker.client.replies.large import LargeReplies
from effectmq.broker.client.replies.queue import (
    declare_reply_queue,
    delete_reply_queue,
    may_be_replaced,
    replace_mute,
)
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Consumer, Delivery, Transport
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.chunk import CHUNK_TYPE, read_chunk
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import read_replies
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Exchange, Names, Topology, TopologySettings, reply_topology

__all__ = ["Mailbox"]

logger = logging.getLogger("effectmq.client")

#: Answers are settled as soon as they are passed on, so this only limits the memory.
_REPLY_PREFETCH = 500


class Mailbox:
    """
    Reads the reply queue of one identity into a book.

    Args:
        identity: The identity of the client.
        topology: The namespace, and how long the queue outlives its client.
        book: The callers that wait.
        bodies: Fetches bodies that are out of line; ``None`` without a store.
        limits: The limits of what is read.
        recorded: Whether there is a journal, which has what the queue may lose.
        on_away: Called when the queue is back and outcomes may have been lost.
        counters: ``unreadable``, and those of large replies.

    Attributes:
        queue: The name of the reply queue.
        found_mute: Whether outcomes of an earlier process may have gone with its queue.
        consumer: Reads the queue; ``None`` before it is open.
    """

    def __init__(
        self,
        identity: str,
        topology: TopologySettings,
        book: ReplyBook,
        bodies: LargeBodies | None,
        limits: Limits,
        *,
        recorded: bool,
        on_away: Callable[[], None],
        counters: Counter[str],
    ) -> None:
        names_ = Names(topology.namespace)
        self.queue = names_.reply_queue(identity)
        self.found_mute = False
        self.consumer: Consumer | None = None
        self._lock = names_.reply_lock(identity)
        # The exchange must exist before the first publish: a publish to a missing exchange would
        # close the channel, and lose every confirmation in flight.
        exchange = Exchange(names_.work_exchange, "direct")
        self._topology = Topology((exchange,)) | reply_topology(topology, identity)
        self._book = book
        self._limits = limits
        self._recorded = recorded
        self._on_away = on_away
        self._counters = counters
        self._large = LargeReplies(bodies, book, self._read, counters)
        self._made_here = False

    async def open(self, transport: Transport) -> None:
        """
        Declare the queue and begin to read it.

        Raises:
            BrokerError: When the broker cannot be used.
            ReplyQueueInUseError: When another live client reads it.
        """
        self._made_here |= await transport.stats(self.queue) is None
        await declare_reply_queue(transport, self._topology, self._take)
        self.consumer = await transport.consume(
            self.queue,
            prefetch=_REPLY_PREFETCH,
            exclusive=True,
            lock=self._lock,
            on_resumed=self._resumed,
            on_mute=lambda served_s: self._replace_mute(transport, served_s),
            on_delivery=self._take,
        )

    async def close(self) -> None:
        """Stop reading; what arrives from now on waits in the queue."""
        if self.consumer is not None:
            await self.consumer.close()
        await self._large.close()

    async def delete(self, transport: Transport) -> None:
        """Delete the queue, because no process can come back to it. Never raises."""
        await delete_reply_queue(transport, self.queue)

    def _take(self, delivery: Delivery) -> None:
        if names.BODY in delivery.message.headers:
            self._large.take(delivery)
            return
        self._read(delivery.message, self._limits)
        delivery.ack()

    def _read(self, message: Message, limits: Limits) -> None:
        try:
            if message.type == CHUNK_TYPE:
                self._book.take_chunk(read_chunk(message, limits))
            else:
                for reply in read_replies(message, limits):
                    self._book.take(reply)
        except Exception as problem:
            # Anybody with access to the default exchange can write here, and one message must not
            # end the receiving of all.
            self._counters["unreadable"] += 1
            logger.warning(
                "a message on the reply queue is not an outcome: %s",
                describe(problem),
                extra={"action": "reply_unreadable", "queue": self.queue},
            )

    def _resumed(self, made_anew: bool) -> None:
        """The queue is back; outcomes that were sent meanwhile may be lost."""
        self._made_here |= made_anew
        if made_anew or self._recorded:
            self._on_away()

    async def _replace_mute(self, transport: Transport, served_s: float) -> bool:
        """The queue does not answer; returns whether it has been replaced."""
        made_here = self._made_here
        if not may_be_replaced(made_here=made_here, recorded=self._recorded, served_s=served_s):
            return False
        replaced = await replace_mute(transport, self._topology)
        self._made_here |= replaced
        self.found_mute |= replaced and not made_here
        return replaced
