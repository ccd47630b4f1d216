"""Send dead letters back: effects to the queues of their kinds, outcomes to those who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from effectmq.broker.crashpoints import reached
from effectmq.broker.dead_letters.content import DeadContent
from effectmq.broker.dead_letters.report import (
    DeadReport,
    no_queue,
    no_reply_queue,
    not_as_it_is,
)
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import (
    ConfigurationError,
    PayloadTooLargeError,
    PublishUnknownError,
    QueueFullError,
    UnroutableError,
)
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.dead_letter import DeadLetter, revived_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names

__all__ = ["Foresight", "Pace", "Sender"]

_PUBLISH_TRIES = 3


class Sender:
    """
    Publishes what is inside dead letters.

    Args:
        transport: An open transport.
        names: The names of the namespace.
        kept_elsewhere: Whether there is a store for bodies that are kept out of line.
    """

    def __init__(self, transport: Transport, names: Names, *, kept_elsewhere: bool) -> None:
        self._transport = transport
        self._names = names
        self._kept_elsewhere = kept_elsewhere

    async def has_queue(self, route: str) -> bool:
        """Whether an effect of this route finds a queue."""
        try:
            return await self._transport.stats(self._names.work_queue(route)) is not None
        except ConfigurationError:
            # No queue can have such a name.
            return False

    async def has_reply_queue(self, queue: str) -> bool:
        """Whether an outcome finds its reply queue."""
        return await self._transport.stats(queue) is not None

    def addressed(self, message: Message, reply_to: str | None) -> Message:
        """
        The message with another receiver of its outcome; the same message when none is given.

        The receiver can fetch a large outcome from the store of this program, if it can at all.
        """
        if reply_to is None:
            return message
        changed = dict(message.headers)
        changed.pop(headers.OUT_OF_LINE, None)
        if self._kept_elsewhere:
            changed[headers.OUT_OF_LINE] = True
        return replace(message, reply_to=reply_to, headers=changed)

    async def effect(self, route: str, message: Message) -> str:
        """Publish an effect to the queue of its route; see ``_send``."""
        return await self._send(self._names.work_exchange, route, message, no_queue(route))

    async def outcome(self, letter: DeadLetter, reply_to: str | None) -> str:
        """Publish the outcome inside a letter to its reply queue; see ``_send``."""
        queue = reply_to or letter.message.reply_to
        message = replace(revived_message(letter), reply_to="")
        return await self._send("", queue, message, no_reply_queue(queue))

    async def _send(self, exchange: str, key: str, message: Message, unroutable: str) -> str:
        """
        Publish, and again when it is unknown whether the message arrived.

        Returns:
            Why this message was refused; empty when the broker has it.

        Raises:
            PublishError: When the broker accepts nothing at the moment.
            BrokerError: When there is no connection.
        """
        tries = _PUBLISH_TRIES
        while True:
            tries -= 1
            try:
                await self._transport.publish(exchange, key, message)
            except PublishUnknownError:
                # It may have arrived; publishing the same effect again is safe.
                if not tries:
                    raise
            except UnroutableError:
                return unroutable
            except (QueueFullError, PayloadTooLargeError) as problem:
                return describe(problem)
            else:
                reached("replay_after_publish")
                return ""


class Foresight:
    """
    Says what a replay would come to, and publishes nothing.

    Args:
        sender: Knows which queues there are.
        content: Decodes what is inside a letter.
        report: Where the letters are counted.
        reply_to: Another reply queue for the outcomes; each letter's own when not given.
    """

    def __init__(
        self,
        sender: Sender,
        content: Callable[[DeadLetter], Awaitable[DeadContent]],
        report: DeadReport,
        reply_to: str | None,
    ) -> None:
        self._sender = sender
        self._content = content
        self._report = report
        self._reply_to = reply_to
        self._queues: dict[str, bool] = {}

    async def look(self, letter: DeadLetter) -> None:
        """Count what would become of a letter."""
        report = self._report
        problem = (await self._content(letter)).problem
        if problem:
            report.skipped += 1
            report.note(letter, not_as_it_is(problem))
        elif await self._is_taken(letter):
            report.done += 1
        else:
            report.failed += 1
            queue = self._reply_to or letter.message.reply_to
            sentence = no_reply_queue(queue) if letter.is_outcome else no_queue(letter.route)
            report.note(letter, sentence)

    async def _is_taken(self, letter: DeadLetter) -> bool:
        route = letter.route
        if letter.is_outcome:
            return await self._sender.has_reply_queue(self._reply_to or letter.message.reply_to)
        if route not in self._queues:
            self._queues[route] = await self._sender.has_queue(route)
        return self._queues[route]


class Pace:
    """
    Limits the number of turns per second.

    Args:
        rate: How many.

    Raises:
        ConfigurationError: When it is not above 0.
    """

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ConfigurationError(f"the rate is {rate:g}; expected more than 0 a second")
        self._interval_s = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until it is time for the next one."""
        now = asyncio.get_running_loop().time()
        wait_s = self._next - now
        self._next = max(now, self._next) + self._interval_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
