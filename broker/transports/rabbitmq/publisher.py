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
from effectmq.broker.transports.rabbitmq.driver import Channel, Link, publish_error
from effectmq.broker.transports.rabbitmq.driver.waiting import seen
from effectmq.broker.transports.rabbitmq.sending import Sending
from effectmq.broker.transports.rabbitmq.window import Window
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerBlockedError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    EffectmqError,
    PublishUnknownError,
    QueueFullError,
    TransportClosedError,
    UnroutableError,
    VirtualHostError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.cancel import NOTICE_TYPES

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
        self._window = Window(settings.publish_window)
        # With so many abandoned publishes, the others get too little of the window.
        self._too_many = max(1, settings.publish_window // 2)
        self._given_up = 0
        self._loop = asyncio.get_running_loop()
        self._deadlines: Deadlines[asyncio.Future[Any]] = Deadlines(_expire)
        self._closed = False
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
        end = self._loop.time() + timeout_s
        channel = self._channel
        if channel is None or channel.lost.done() or not self._window.free or message.message_id:
            channel = await self._wait_for_turn(routing_key, message.message_id, end, given_s)
        else:
            self._window.free -= 1
        answer: asyncio.Future[None] = self._loop.create_future()
        sending = Sending(self, exchange, routing_key, message, answer, end)
        self._begin_or_release(sending, channel)
        await self._confirmed(sending, given_s)
        self._counters["published"] += 1

    def post(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        awaited: asyncio.Future[Any],
        timeout_s: float,
        on_taken: Callable[[], None],
    ) -> Sending | None:
        """Publish without waiting, now or as soon as there is a place; see the port."""
        channel = self._channel
        if (
            channel is None
            or channel.lost.done()
            or message.message_id
            # What waits until it is written cannot be done without waiting.
            or armed("after_publish")
        ):
            return None
        end = self._loop.time() + timeout_s
        sending = Sending(self, exchange, routing_key, message, awaited, end, on_taken)
        if not self._window.free:
            self._window.line_up(sending)
            self._deadlines.add(awaited, timeout_s)
        else:
            self._window.free -= 1
            self._begin_or_release(sending, channel)
        return sending

    def sent_in_turn(self, sending: Sending) -> bool:
        """See ``Office``."""
        channel = self._channel
        if channel is not None and not channel.lost.done() and not sending.awaited.done():
            try:
                self._begin(sending, channel)
            except ConfigurationError:
                # Its own caller is to see it, and not who handles the broker's answers here.
                sending.channel, sending.has_place = None, False
            else:
                return True
        sending.wake()
        return False

    def _begin(self, sending: Sending, channel: Channel, *, has_place: bool = True) -> None:
        """Send; its place in the window is free again when the broker has answered."""
        left_s = max(0.0, sending.end - self._loop.time())
        sending.channel, sending.has_place = channel, has_place
        sending.last = self._stuck_s >= left_s
        self._deadlines.add(sending.awaited, min(left_s, self._stuck_s))
        channel.send(sending.exchange, sending.routing_key, sending.message, sending)

    def _begin_or_release(self, sending: Sending, channel: Channel) -> None:
        try:
            self._begin(sending, channel)
        except BaseException:
            self._deadlines.discard(sending.awaited)
            self._window.release()
            raise

    def is_decided(self, sending: Sending) -> None:
        """See ``Office``."""
        self._deadlines.discard(sending.awaited)
        if sending.given_up:
            self._given_up -= 1
        if sending.on_taken is None or sending.fate != "taken":
            if not sending.left:
                sending.wake()
        else:
            self._counters["published"] += 1
            on_taken, sending.on_taken = sending.on_taken, None
            on_taken()
        if sending.has_place:
            self._window.release()

    async def see_through(self, sending: Sending, given_s: float) -> None:
        """See ``Office``."""
        if sending.channel is None:
            await self._not_sent(sending, given_s)
            return
        sending.on_taken = None
        await self._confirmed(sending, given_s)
        self._counters["published"] += 1

    async def _confirmed(self, sending: Sending, given_s: float) -> None:
        """Wait for the confirmation; see the port for what it raises."""
        routing_key = sending.routing_key
        try:
            await self._answer(sending)
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

    async def _not_sent(self, sending: Sending, given_s: float) -> None:
        """What was posted, and lost its turn or its time before it was sent."""
        self.leave(sending, arrived=False)
        exchange, routing_key = sending.exchange, sending.routing_key
        left_s = sending.end - self._loop.time()
        if left_s <= 0:
            raise await self._timed_out(routing_key, given_s, sent=False)
        await self.publish(exchange, routing_key, sending.message, left_s, given_s)

    def leave(self, sending: Sending, *, arrived: bool) -> None:
        """See ``Office``."""
        sending.left, sending.on_taken = True, None
        self._deadlines.discard(sending.awaited)
        if sending.channel is None:
            self._window.withdraw(sending)
        elif sending.fate is None and arrived:
            # Its place is free when the broker says so, too.
            sending.fate = "taken"
        elif sending.fate is None and sending.has_place and not sending.given_up:
            sending.given_up = True
            self._given_up += 1

    # In one piece: each exit is for another fault.
    async def _answer(self, sending: Sending) -> None:
        """Wait until the broker has answered; what is stuck is sent once more elsewhere."""
        copied = False
        try:
            # Counts effects and answers only, not messages between workers.
            if armed("after_publish") and sending.message.type not in NOTICE_TYPES:
                await reached_when_written("after_publish")
            await sending.awaited
            while sending.fate is None:
                if sending.last:
                    raise TimeoutError
                sending.wait_on()
                async with asyncio.timeout_at(sending.end):
                    other = await self._elsewhere(sending)
                if other is None:
                    break
                self._counters["stuck_publishes"] += 1
                sending, copied = self._copy(sending, other), True
                await sending.awaited
        except BaseException:
            self.leave(sending, arrived=False)
            raise
        channel, fate = sending.channel, sending.fate
        assert channel is not None
        assert fate is not None
        if copied and fate == "taken":
            self._passed(channel)
        if copied and fate == "refused":
            self._failed(channel)
            self._leave()
            raise PublishUnknownError(
                f"the queue for {sending.routing_key!r} took no copy of a message that it did not "
                "answer before; the first one may have arrived. Publishing the same effect "
                "again is safe"
            )
        if fate != "taken":
            raise publish_error(fate, channel.reason, sending.exchange, sending.routing_key)

    def _copy(self, stuck: Sending, other: Channel) -> Sending:
        """Send it again on another channel; its place in the window now belongs to the copy."""
        copy = Sending(
            self,
            stuck.exchange,
            stuck.routing_key,
            stuck.message,
            self._loop.create_future(),
            stuck.end,
        )
        self._deadlines.discard(stuck.awaited)
        # One that was answered meanwhile has given its place back already.
        has_place, stuck.has_place = stuck.fate is None, False
        self._begin(copy, other, has_place=has_place)
        return copy

    async def _elsewhere(self, stuck: Sending) -> Channel | None:
        """Another channel for an unanswered publish; ``None`` when it was answered after all."""
        assert stuck.channel is not None
        message_id = stuck.message.message_id
        finding = self._loop.create_task(self._another(stuck.channel))
        finding.add_done_callback(seen)
        either: set[asyncio.Future[Any]] = {stuck.awaited, finding}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if stuck.fate is None:
                await asyncio.wait({stuck.awaited}, timeout=_LAST_WAIT_S)
            if stuck.fate == "taken":
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

    async def _wait_for_turn(
        self, routing_key: str, message_id: str, end: float, given_s: float
    ) -> Channel:
        """A place in the window, and a channel to publish on, within the time limit."""
        try:
            await self._window.wait(max(0.0, end - self._loop.time()))
            try:
                return await self._usable(message_id, end)
            except BaseException:
                self._window.release()
                raise
        except TimeoutError:
            raise await self._timed_out(routing_key, given_s, sent=False) from None

    async def _usable(self, message_id: str, end: float) -> Channel:
        """A channel on which nothing is unanswered under this message id."""
        channel = self._channel
        if channel is not None and not channel.lost.done() and not message_id:
            return channel
        async with asyncio.timeout_at(end):
            while True:
                channel = await self._open()
                # Nothing suspends between this look and the send.
                if not message_id or not channel.is_sending(message_id):
                    return channel
                await channel.answered(message_id)

    async def _open(self) -> Channel:
        async with self._opening:
            if self._closed:
                raise TransportClosedError("the transport was closed while publishing")
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
        self._closed = True
        channel, self._channel = self._channel, None
        if self._trial is not None:
            self._left.append(self._trial)
        for left in self._left:
            left.abandon("closed")
        if channel is not None:
            await channel.close()
        self._deadlines.close()
        self._window.close()


def _expire(awaited: asyncio.Future[Any]) -> None:
    # No exception: who is woken looks for the reason, and finds none.
    if not awaited.done():
        awaited.set_result(None)
