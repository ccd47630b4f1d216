"""
Publish with a known outcome, over a connection that may be lost and made again.

At most ``publish_window`` publishes are unanswered at a time: RabbitMQ's quorum queues reach their
throughput with about a hundred, and more only adds to what becomes unknown when a connection is
lost. A publish whose caller stopped waiting keeps its place until the broker has answered it.
Otherwise a producer that tries again and again while the broker does not read (a memory alarm)
would collect in its own memory what the broker has no room for.

In a cluster a publish can be stuck although its connection is healthy: the channel sent it to the
node that led the queue, and that node froze. After some seconds it is sent again on a channel that
was opened since then, and is on trial. That the channel could be opened shows that the broker has
read everything before it, so that a slow line or an alarm causes no second copy.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

from effectmq.broker.crashpoints import armed, reached_when_written
from effectmq.broker.deadlines import Deadlines
from effectmq.broker.sparingly import Sparingly
from effectmq.broker.transports.rabbitmq.connection.supervisor import Supervisor
from effectmq.broker.transports.rabbitmq.driver import Channel, Fate, Link, Publish
from effectmq.broker.transports.rabbitmq.driver.waiting import seen
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerBlockedError,
    BrokerError,
    BrokerUnreachableError,
    EffectmqError,
    PublishUnknownError,
    QueueFullError,
    UnroutableError,
    VirtualHostError,
)
from effectmq.protocol.messages.cancel_notice import NOTICE_TYPES
from effectmq.protocol.messages.message import Message

__all__ = ["Publisher"]

logger = logging.getLogger("effectmq.rabbitmq")

_REOPEN_WAIT_S = 0.05
_MOST_LEFT = 4
#: How long the broker may still confirm what it has read, before a copy is sent, in seconds.
_LAST_WAIT_S = 1.0


class Publisher:
    """
    The publishing side of one transport.

    Args:
        supervisor: Gives the connection.
        settings: Has the size of the window.
        redeclare: Declares the transport's topology again, after an exchange was deleted.
        counters: The transport's.
        stuck_s: After how many seconds without an answer a publish is sent again on another
            channel; infinite where no other node can lead its queue.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        settings: TransportSettings,
        redeclare: Callable[[], Awaitable[None]],
        counters: Counter[str],
        stuck_s: float = math.inf,
    ) -> None:
        self._stuck_s = stuck_s
        self._supervisor = supervisor
        self._redeclare = redeclare
        self._counters = counters
        self._window = asyncio.Semaphore(settings.publish_window)
        # With so many abandoned publishes, the others get too little of the window.
        self._too_many = max(1, settings.publish_window // 2)
        self._given_up = 0
        self._loop = asyncio.get_running_loop()
        self._deadlines: Deadlines[Fate] = Deadlines(_expire)
        self._opening = asyncio.Lock()
        self._trying = asyncio.Lock()
        self._mending = Sparingly()
        self._channel: Channel | None = None
        #: Takes the copies of stuck publishes. On a new channel RabbitMQ may wait for the leader,
        #: and delay all later publishes. So publishes to other queues stay on the old channel until
        #: this one has proved to be better.
        self._trial: Channel | None = None
        #: Former channels with publishes that are still to be answered.
        self._left: deque[Channel] = deque()
        self._leaving = Sparingly()
        self._link: Link | None = None

    async def publish(
        self, exchange: str, routing_key: str, message: Message, timeout_s: float, given_s: float
    ) -> None:
        """
        Publish and wait for the confirmation; see the port for what it raises.

        Args:
            exchange: Its name, or empty for the default exchange.
            routing_key: The routing key.
            message: The message, already checked against the size limits.
            timeout_s: For everything together: the window, the connection, the confirmation; in
                seconds.
            given_s: The limit that errors name, because the caller knows it.
        """
        channel = self._channel
        if channel is None or channel.lost.done() or self._window.locked() or message.message_id:
            deadline = self._loop.time() + timeout_s
            channel = await self._wait_for_turn(routing_key, message.message_id, timeout_s, given_s)
            left_s = max(0.0, deadline - self._loop.time())
        else:
            await self._window.acquire()
            left_s = timeout_s
        try:
            await self._send(channel, exchange, routing_key, message, left_s)
        except TimeoutError:
            raise await self._timed_out(routing_key, given_s, sent=True) from None
        except UnroutableError:
            self._counters["unroutable"] += 1
            raise
        except QueueFullError:
            self._counters["refused"] += 1
            self._leave()
            raise
        except PublishUnknownError:
            self._counters["unknown_publishes"] += 1
            raise
        self._counters["published"] += 1

    # In one piece: this runs for every publish, and each exit is for another fault.
    async def _send(  # noqa: C901
        self, channel: Channel, exchange: str, routing_key: str, message: Message, timeout_s: float
    ) -> None:
        """Send and wait, with a place in the window, which is free again afterwards."""
        publish, copied, end = None, False, self._loop.time() + timeout_s
        try:
            while True:
                publish = channel.send(exchange, routing_key, message)
                last = self._stuck_s >= timeout_s
                self._deadlines.add(publish.confirmation, min(timeout_s, self._stuck_s))
                # Counts effects and answers only, not messages between workers.
                if armed("after_publish") and message.type not in NOTICE_TYPES:
                    await reached_when_written("after_publish")
                try:
                    fate = await publish.confirmation
                    break
                except TimeoutError:
                    if last:
                        raise
                publish = channel.wait_on(publish)
                async with asyncio.timeout_at(end):
                    other = await self._elsewhere(channel, publish, message.message_id)
                if other is None:
                    fate = publish.confirmation.result()
                    break
                self._counters["stuck_publishes"] += 1
                # Its place in the window now belongs to the copy.
                channel.give_up(publish, _nothing)
                channel, copied, timeout_s = other, True, max(0.0, end - self._loop.time())
            if copied and fate == "taken":
                self._passed(channel)
            if copied and fate == "refused":
                self._failed(channel)
                self._leave()
                raise PublishUnknownError(
                    f"the queue for {routing_key!r} took no copy of a message that it did not "
                    "answer before; the first one may have arrived. Publishing the same effect "
                    "again is safe"
                )
            channel.judge(publish, fate, exchange, routing_key)
        except (TimeoutError, asyncio.CancelledError):
            self._give_up(channel, publish)
            raise
        except BaseException:
            self._window.release()
            raise
        else:
            self._window.release()
        finally:
            if publish is not None:
                self._deadlines.discard(publish.confirmation)

    async def _elsewhere(self, stuck: Channel, publish: Publish, message_id: str) -> Channel | None:
        """Another channel for an unanswered publish; ``None`` when it was answered after all."""
        finding = self._loop.create_task(self._another(stuck))
        finding.add_done_callback(seen)
        either: set[asyncio.Future[Any]] = {publish.confirmation, finding}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not publish.confirmation.done():
                await asyncio.wait({publish.confirmation}, timeout=_LAST_WAIT_S)
            if publish.confirmation.done() and publish.confirmation.result() == "taken":
                return None
            other = await finding
            while message_id and other.is_sending(message_id):
                await other.answered(message_id)
            return other
        finally:
            finding.cancel()

    async def _another(self, stuck: Channel) -> Channel:
        """The channel on trial, a new one when that is stuck as well, or the present usual one."""
        async with self._trying:
            while self._needs_trial(stuck):
                try:
                    fresh = await (await self._supervisor.link()).channel(confirms=True)
                except BrokerUnreachableError:
                    await asyncio.sleep(_REOPEN_WAIT_S)
                    continue
                logger.warning(
                    "publishing again on a new channel: the broker answers, and does not confirm",
                    extra={"action": "publish_stuck"},
                )
                if self._trial is not None:
                    self._set_aside(self._trial)
                self._trial = fresh
            return self._trial or await self._open()

    def _needs_trial(self, stuck: Channel) -> bool:
        trial = self._trial
        if trial is None:
            return stuck is self._channel and not stuck.lost.done()
        return trial is stuck or trial.lost.done()

    def _passed(self, channel: Channel) -> None:
        """A copy was taken on this channel: it becomes the usual one."""
        if channel is self._trial:
            if self._channel is not None:
                self._set_aside(self._channel)
            self._channel, self._trial = channel, None

    def _failed(self, channel: Channel) -> None:
        """A copy was refused on this channel, which may refuse all for the queue for ever."""
        if channel is self._trial:
            self._trial = None
            self._set_aside(channel)

    def _give_up(self, channel: Channel, publish: Publish | None) -> None:
        if publish is None:
            self._window.release()
            return
        self._given_up += 1
        channel.give_up(publish, self._answered_late)

    def _answered_late(self) -> None:
        self._given_up -= 1
        self._window.release()

    async def _wait_for_turn(
        self, routing_key: str, message_id: str, timeout_s: float, given_s: float
    ) -> Channel:
        """A place in the window, and a channel to publish on, within the time limit."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._window.acquire()
                try:
                    while True:
                        channel = await self._open()
                        # Nothing suspends between this look and the send.
                        if not message_id or not channel.is_sending(message_id):
                            return channel
                        await channel.answered(message_id)
                except BaseException:
                    self._window.release()
                    raise
        except TimeoutError:
            raise await self._timed_out(routing_key, given_s, sent=False) from None

    async def _open(self) -> Channel:
        async with self._opening:
            while self._channel is None or self._channel.lost.done():
                if self._channel is not None and self._channel.missed_exchange:
                    await self._mend()
                link = await self._supervisor.link()
                try:
                    self._channel = await link.channel(confirms=True)
                    self._link = link
                    self._close_idle()
                except BrokerUnreachableError:
                    # The connection was lost in between; wait for the next one, within the timeout.
                    await asyncio.sleep(_REOPEN_WAIT_S)
            return self._channel

    async def _mend(self) -> None:
        """Declare a missing exchange, because every publish to it would close the channel."""
        if not self._mending.due(self._loop.time()):
            return
        try:
            await self._redeclare()
        except BrokerError as failure:
            logger.error("%s", failure, extra={"action": "redeclare_failed"})

    async def _timed_out(self, routing_key: str, timeout_s: float, *, sent: bool) -> EffectmqError:
        link = self._link
        if link is not None and not link.lost.done() and await link.blocked():
            self._counters["unknown_publishes"] += sent
            return BrokerBlockedError(
                f"the broker accepts no messages because of a memory or disk alarm; nothing was "
                f"confirmed for {routing_key!r} within {timeout_s:g} s. Free memory or disk on the "
                "broker; what was already sent is taken when the alarm ends, and publishing the "
                "same effect again is safe"
            )
        self._start_afresh()
        if sent:
            self._leave()
        if not sent:
            reason = self._supervisor.failure
            if isinstance(reason, (AccessRefusedError, VirtualHostError)):
                return reason
            return BrokerUnreachableError(
                f"nothing could be published for {routing_key!r} within {timeout_s:g} s: "
                + (str(reason) if reason else "there was no free place or no connection in time")
            )
        self._counters["unknown_publishes"] += 1
        return PublishUnknownError(
            f"the broker did not confirm a message for {routing_key!r} within {timeout_s:g} s; it "
            "may have arrived. Publishing the same effect again is safe"
        )

    def _start_afresh(self) -> None:
        """
        Stop using a channel with too many unanswered publishes, when no alarm explains them.

        A queue that has lost its majority answers nothing, and must not take the window from other
        queues.
        """
        channel = self._channel
        if channel is None or channel.lost.done():
            return
        if self._given_up >= self._too_many:
            logger.warning(
                "%d publishes were not answered; going on with a new channel",
                self._given_up,
                extra={"action": "channel_abandoned"},
            )
            if self._trial is not None:
                self._left.append(self._trial)
            for each in (channel, *self._left):
                each.abandon("the broker confirmed nothing for too long")
            self._left.clear()
            self._trial = None

    def _leave(self) -> None:
        """
        Publish on a new channel from now on; publishes on the old one are answered there.

        A channel remembers which node led a queue at its first use. When that node is lost or
        frozen, RabbitMQ 3.10 may refuse everything for the queue on this channel, and 4 may let it
        wait, although another node leads the queue by now; a new channel asks again.
        """
        self._close_idle()
        channel = self._channel
        if channel is None or channel.lost.done() or not self._leaving.due(self._loop.time()):
            return
        self._channel = None
        self._set_aside(channel)

    def _set_aside(self, channel: Channel) -> None:
        self._left.append(channel)
        if len(self._left) > _MOST_LEFT:
            self._left.popleft().abandon("the broker confirmed nothing for too long")

    def _close_idle(self) -> None:
        for channel in [each for each in self._left if each.idle]:
            self._left.remove(channel)
            channel.abandon("not needed any more")

    async def close(self) -> None:
        """Close the channel; publishes under way become unknown."""
        channel, self._channel = self._channel, None
        if self._trial is not None:
            self._left.append(self._trial)
        for left in self._left:
            left.abandon("closed")
        if channel is not None:
            await channel.close()
        self._deadlines.close()


def _nothing() -> None:
    """Do nothing: no caller waits for the answer to a copied publish."""


def _expire(confirmation: asyncio.Future[Fate]) -> None:
    if not confirmation.done():
        confirmation.set_exception(TimeoutError())
