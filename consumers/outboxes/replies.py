"""
Send outcomes back, many in one message, and settle their deliveries.

One message to a producer is under way at a time. Outcomes that become ready meanwhile are sent
together when it is confirmed, as in the group commit of a database; this is the main reason why one
Python process is fast. A single outcome is sent at once. Large outcomes do not wait for each other:
so few of them fit into a message that there would be a wait for each.

An effect is settled only after the broker has confirmed its answer. An unconfirmed answer is sent
again until it is confirmed, unless only its queue has taken nothing for long. A missing reply queue
does not mean that nobody waits: an answer that nothing else remembers is given back, to be kept,
and one that a journal or a dead letter holds is settled.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from effectmq.broker.crashpoints import armed, reached, reached_when_written
from effectmq.broker.metrics.instruments import Histogram
from effectmq.broker.store.attachments.large_bodies import LargeBodies, outgoing_until_stored
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.publishing import UNTAKEN, RefusalWatch, publish_until_known
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS
from effectmq.protocol.errors import TransportClosedError, UnroutableError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import OUTCOME_TYPE, join_replies
from effectmq.protocol.messages.request import correlation
from effectmq.protocol.text import describe, printable

__all__ = ["ReplyOutbox"]

logger = logging.getLogger("effectmq.worker")

#: A reader limits the elements of a whole message, and every element takes at least a byte: answers
#: that together have fewer bytes than that limit stay below it.
_MAX_JOINED_BYTES = DEFAULT_LIMITS.max_elements

#: From this size in bytes, an answer is large.
_LARGE_BYTES = 16 * 1024
#: How many messages of large answers to a producer are under way at a time.
_LARGE_AT_A_TIME = 32

#: What the list around the answers adds, at most.
_LIST_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Ready:
    """One encoded answer, and what waits until it has arrived."""

    encoded: bytes
    effect_id: str
    sent: asyncio.Future[Message | None]
    hash: str
    kept: bool

    def tell(self, undelivered: Message | None) -> None:
        """End the wait; with the message when it was not delivered and must be kept."""
        if not self.sent.done():
            self.sent.set_result(undelivered)


_encoded = attrgetter("encoded")


class _Way(NamedTuple):
    """Which answers wait for each other: those of one producer, encoding and size."""

    reply_to: str
    content_type: str
    out_of_line: bool
    large: bool


class _Road:
    """One way: the answers that are ready for it, and the tasks that send them."""

    __slots__ = ("bodies", "lanes", "most_lanes", "ready", "way")

    def __init__(self, way: _Way, bodies: LargeBodies | None) -> None:
        self.way = way
        self.bodies = bodies
        self.ready: deque[_Ready] = deque()
        #: Each has one message under way.
        self.lanes: set[asyncio.Task[None]] = set()
        self.most_lanes = _LARGE_AT_A_TIME if way.large else 1

    def take(self, max_bytes: int) -> list[_Ready]:
        """The next answers that fit into one message; at least one."""
        batch = [self.ready.popleft()]
        if self.bodies is not None:
            # A body out of line is sent alone, so that its message can say whose it is.
            return batch
        held = _LIST_BYTES + len(batch[0].encoded)
        while self.ready and held + len(self.ready[0].encoded) < max_bytes:
            batch.append(self.ready.popleft())
            # One byte more for the comma in JSON.
            held += len(batch[-1].encoded) + 1
        return batch


class ReplyOutbox:
    """
    The answers of a worker, on their way to the reply queues.

    Args:
        transport: Where to publish.
        max_bytes: The size at which a message of several answers is split.
        counters: ``replies`` (outcomes), ``reply_messages``, ``replies_unroutable``.
        bodies: Keeps large answers out of line for producers that can fetch them.
        watch: Hears of publishes that wait for a permission.
        patience_s: For how long a reply queue may refuse an answer or leave it unconfirmed, in
            seconds, before it counts as one that does not exist.
        took: Measures how long the broker takes to confirm a message, in seconds.
    """

    def __init__(
        self,
        transport: Transport,
        max_bytes: int,
        counters: Counter[str],
        bodies: LargeBodies | None = None,
        watch: RefusalWatch | None = None,
        patience_s: float = math.inf,
        took: Histogram | None = None,
    ) -> None:
        self._took = took or Histogram()
        self._transport = transport
        self.patience_s = patience_s
        self._watch = watch
        self._bodies = bodies
        self._max_bytes = min(max_bytes, _MAX_JOINED_BYTES)
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._roads: dict[_Way, _Road] = {}

    def add(
        self,
        reply_to: str,
        content_type: str,
        encoded: bytes,
        effect_id: str,
        *,
        out_of_line: str = "",
        keep: bool = False,
    ) -> asyncio.Future[Message | None]:
        """
        Queue one answer for the end of this turn.

        Args:
            reply_to: The producer's queue.
            content_type: That of the request.
            encoded: From ``encode_reply``, in that content type.
            effect_id: For the log.
            out_of_line: The hash of the envelope, when its producer can fetch an answer that is
                kept out of line; else empty.
            keep: Whether nothing else remembers the answer.

        Returns:
            Done when the answer is confirmed, or need not be. Cancelled when the task that sends it
            is cancelled, so that its state is unknown. The result is a message of this answer alone
            when it must be kept and its reply queue does not exist. Never done after ``abort``.
        """
        # Each way has its own queue: a store that is down must not hold up the small answers.
        bodies = self._bodies if out_of_line else None
        if bodies is not None and len(encoded) + _LIST_BYTES <= bodies.threshold_bytes:
            bodies = None
        large = bodies is not None or len(encoded) >= _LARGE_BYTES
        way = _Way(reply_to, content_type, bodies is not None, large)
        road = self._roads.get(way)
        if road is None:
            road = self._roads[way] = _Road(way, bodies)
        sent: asyncio.Future[Message | None] = self._loop.create_future()
        road.ready.append(_Ready(encoded, effect_id, sent, out_of_line, keep))
        if len(road.lanes) < road.most_lanes:
            # A task starts in the next turn of the loop: the rest of this turn is still collected.
            lane = self._loop.create_task(self._drive(road))
            road.lanes.add(lane)
            lane.add_done_callback(road.lanes.discard)  # Also when it never started.
        return sent

    async def _drive(self, road: _Road) -> None:
        """Send what is ready, and what becomes ready meanwhile, until nothing is left."""
        lane = asyncio.current_task()
        try:
            while road.ready:
                batch = road.take(self._max_bytes)
                try:
                    await self._send(road, batch)
                except asyncio.CancelledError:
                    if lane is not None and lane.cancelling():
                        raise
                    # Something below cancelled it, not the worker; those that wait are told.
                    for answer in batch:
                        answer.sent.cancel()
        finally:
            # Here and not later, so that whoever adds now starts another.
            if lane is not None:
                road.lanes.discard(lane)
            if not road.ready and not road.lanes:
                self._roads.pop(road.way, None)

    async def _send(self, road: _Road, batch: list[_Ready]) -> None:
        began_s = self._loop.time()
        reply_to, content_type = road.way.reply_to, road.way.content_type
        message = Message(
            body=join_replies(list(map(_encoded, batch)), content_type),
            content_type=content_type,
            type=OUTCOME_TYPE,
            correlation_id=correlation(batch[0].effect_id) if len(batch) == 1 else "",
        )
        try:
            if road.bodies is not None:
                message = await outgoing_until_stored(road.bodies, message)
                message.headers[names.HASH] = batch[0].hash
            await publish_until_known(
                self._transport, "", reply_to, message, self._watch, self.patience_s
            )
        except UnroutableError:
            self._undeliverable(road, message, batch, "does not exist")
            return
        except UNTAKEN as problem:
            # A queue that stays full, or that a broken broker left behind, must not hold up the
            # effects of other producers.
            self._undeliverable(road, message, batch, f"takes nothing ({describe(problem)})")
            return
        except TransportClosedError:
            # The worker has left; another one gets the unsettled effects.
            return
        except Exception as problem:
            # Trying again would not help, and the other answers must go on.
            self._counters["replies_unsendable"] += len(batch)
            logger.error(
                "%d outcome(s) for %s cannot be sent: %s",
                len(batch),
                reply_to,
                describe(problem),
                exc_info=problem,
                extra={"action": "reply_unsendable"},
            )
            _hand_out(road, message, batch)
            return
        self._took.observe(self._loop.time() - began_s)
        self._counters["replies"] += len(batch)
        self._counters["reply_messages"] += 1
        reached("after_reply")
        for answer in batch:
            if not answer.sent.done():
                answer.sent.set_result(None)
        if armed("after_ack"):
            # In the next turn of the loop each delivery is acknowledged by its job.
            await asyncio.sleep(0)
            await reached_when_written("after_ack")

    def _undeliverable(
        self, road: _Road, message: Message, batch: list[_Ready], state: str
    ) -> None:
        kept = sum(answer.kept for answer in batch)
        self._counters["replies_unroutable"] += len(batch)
        logger.warning(
            "reply queue %s %s; of %d outcome(s) %d are kept and sent again, the "
            "others are on record, and their producer gets them when it asks again",
            road.way.reply_to,
            state,
            len(batch),
            kept,
            extra={
                "action": "reply_unroutable",
                "effect_ids": [printable(answer.effect_id, 200) for answer in batch],
                "hashes": [answer.hash for answer in batch],
            },
        )
        _hand_out(road, message, batch)

    def abort(self) -> None:
        """Stop sending; unsettled deliveries come back."""
        for road in list(self._roads.values()):
            for lane in list(road.lanes):
                lane.cancel()

    async def drain(self) -> None:
        """Wait until everything queued has been sent and settled."""
        while tasks := [lane for road in self._roads.values() for lane in road.lanes]:
            await asyncio.wait(tasks)


def _hand_out(road: _Road, message: Message, batch: list[_Ready]) -> None:
    """Give back each answer that was not sent and that nothing else remembers."""
    for answer in batch:
        if not answer.kept:
            answer.tell(None)
            continue
        if len(batch) > 1:
            message = replace(
                message,
                body=join_replies([answer.encoded], road.way.content_type),
                correlation_id=correlation(answer.effect_id),
            )
        answer.tell(message)
