"""
Operations on dead letters: look, replay, edit and replay, remove.

A replay publishes the effect to the queue of its kind, waits for the broker's confirmation, and
only then removes the letter. A crash in between leaves two copies, never none.

An operation that changes the queue looks at it twice. The first look finds all chosen letters, so
that an ambiguous id is refused before anything is done. The second settles only these, so that an
effect that fails again and is parked again is not replayed for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from effectmq.broker.crashpoints import armed, reached, reached_when_written
from effectmq.broker.dead_letters.browser import (
    DeadBrowser,
    DeadLettersInUseError,
    DeadLettersLostError,
)
from effectmq.broker.dead_letters.content import DeadContent, fetch_content
from effectmq.broker.dead_letters.edit import DeadEdit, edit_letter
from effectmq.broker.dead_letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.dead_letters.report import (
    DeadLetterIdError,
    DeadReport,
    check_ids,
    no_queue,
    no_reply_queue,
    no_such_letter,
    not_as_it_is,
)
from effectmq.broker.dead_letters.settling import Act, Key, key_of, settle
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.encoding.codec import Limits
from effectmq.protocol.errors import (
    BrokerError,
    ConfigurationError,
    PayloadTooLargeError,
    PublishError,
    PublishUnknownError,
    QueueFullError,
    UnroutableError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import DeadLetter, revived_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names, TopologySettings

__all__ = [
    "DEFAULT_RATE",
    "DeadBrowser",
    "DeadEdit",
    "DeadFilter",
    "DeadLetterIdError",
    "DeadLetters",
    "DeadLettersInUseError",
    "DeadLettersLostError",
    "DeadReport",
    "Progress",
]

#: Replays per second, unless another rate is given.
DEFAULT_RATE = 50.0

_PUBLISH_TRIES = 3

#: Called with the number of settled letters and the number to settle.
Progress = Callable[[int, int], None]


class DeadLetters:
    """
    The dead letters of one namespace.

    Args:
        transport: An open transport.
        topology: The namespace.
        limits: The limits of a worker, to know which letters can be replayed.
        bodies: Fetches bodies that are kept out of line; without it, letters with such bodies stay
            where they are.
    """

    def __init__(
        self,
        transport: Transport,
        topology: TopologySettings,
        limits: Limits | None = None,
        bodies: LargeBodies | None = None,
    ) -> None:
        self._transport = transport
        self._names = Names(topology.namespace)
        self._limits = limits or Limits()
        self._bodies = bodies

    def browse(self, chosen: DeadFilter = EVERY_LETTER) -> DeadBrowser:
        """
        Look at the letters, oldest first, and leave them in the queue.

        ::

            async with letters.browse(DeadFilter(kinds=("tool_call",))) as found:
                async for letter in found:
                    ...

        Args:
            chosen: Which letters.
        """
        return DeadBrowser(self._transport, self._names.dead, chosen)

    async def content(self, letter: DeadLetter) -> DeadContent:
        """The content of a letter, decoded as far as possible."""
        return await fetch_content(letter, self._limits, self._bodies)

    async def find(self, letter_id: str) -> DeadLetter:
        """
        One letter, by its id or the beginning of it.

        Raises:
            DeadLetterIdError: When there is none, or more than one.
        """
        return (await self._find(letter_id))[0]

    async def _find(self, letter_id: str) -> tuple[DeadLetter, Counter[Key], int]:
        chosen = DeadFilter(ids=(letter_id,))
        keys: Counter[Key] = Counter()
        found: DeadLetter | None = None
        async with self.browse(chosen) as letters:
            async for letter in letters:
                found = found or letter
                keys[key_of(letter)] += 1
        if found is None:
            raise DeadLetterIdError(no_such_letter(letter_id))
        check_ids(chosen, keys)
        return found, keys, letters.seen - keys.total()

    async def replay(
        self,
        chosen: DeadFilter,
        *,
        rate: float = DEFAULT_RATE,
        limit: int | None = None,
        dry_run: bool = False,
        reply_to: str | None = None,
        on_progress: Progress | None = None,
    ) -> DeadReport:
        """
        Publish letters to the queues of their kinds again, without their attempts and deadlines.

        Args:
            chosen: Which letters.
            rate: The most letters per second.
            limit: The most letters altogether, the oldest first; all when not given.
            dry_run: Whether to change nothing and only report.
            reply_to: Another reply queue for the outcomes; each letter's own when not given.
            on_progress: Called after each letter.

        Raises:
            DeadLetterIdError: When an id names no letter, or more than one.
            BrokerError: When the queue cannot be read; nothing was changed.
        """
        pace = _Pace(rate)
        report = DeadReport(dry_run)
        pending, others = await self._choose(
            chosen, limit, report, foresee=dry_run, reply_to=reply_to
        )
        if dry_run:
            return report
        total = pending.total()
        replayed: set[tuple[str, str]] = set()

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            # A parking that was published twice runs once.
            parking = (letter.id, letter.message.reply_to)
            if letter.parked_ms and parking in replayed:
                report.copies += 1
                delivery.ack()
                settled = True
            else:
                await pace.turn()
                settled = await self._replay(delivery, letter, report, reply_to)
                if settled:
                    replayed.add(parking)
            if on_progress is not None:
                on_progress(report.settled, total)
            return settled

        return await self._settle(pending, others, act, report)

    async def _replay(
        self, delivery: Delivery, letter: DeadLetter, report: DeadReport, reply_to: str | None
    ) -> bool:
        problem = (await self.content(letter)).problem
        if problem:
            report.skipped += 1
            report.note(letter, not_as_it_is(problem))
            return False
        if letter.is_outcome:
            refusal = await self._deliver(letter, reply_to)
        else:
            message = self._addressed(revived_message(letter), reply_to)
            refusal = await self._publish(letter.route, message)
        if refusal:
            report.failed += 1
            report.note(letter, refusal)
            return False
        await _done(delivery)
        report.done += 1
        return True

    async def replay_edited(
        self,
        letter_id: str,
        document: bytes | str,
        *,
        dry_run: bool = False,
        reply_to: str | None = None,
    ) -> DeadEdit:
        """
        Publish one letter again with another envelope in it; see ``edit``.

        Args:
            letter_id: The letter's id or the beginning of it.
            document: The whole envelope as JSON.
            dry_run: Whether only to check it.
            reply_to: Another reply queue for the outcome; the letter's own when not given.

        Raises:
            DeadLetterIdError: When the id names no letter, or more than one.
            ProtocolError: When the document is not an envelope that can be carried out.
            PublishError: When the broker did not accept it; the letter is still there.
            AttachmentStoreError: When it is large and could not be stored; the letter is still
                there.
        """
        letter, pending, others = await self._find(letter_id)
        limits, bodies = self._limits, self._bodies
        edit = edit_letter(letter, document, bodies.limits(limits) if bodies else limits)
        if dry_run:
            return edit
        message = self._addressed(edit.message, reply_to)
        if bodies is not None:
            message = await bodies.outgoing(message)
        published = False

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            nonlocal published
            if not published:
                refusal = await self._publish(edit.route, message)
                if refusal:
                    raise UnroutableError(f"{refusal}. The letter {letter.id} is still there")
                published = True
            await _done(delivery)
            return True

        await settle(self._transport, self._names.dead, pending, others, act)
        if not published:
            raise DeadLetterIdError(
                f"the dead letter {letter.id} was taken off by somebody else meanwhile"
            )
        return edit

    async def purge(
        self,
        chosen: DeadFilter,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        on_progress: Progress | None = None,
    ) -> DeadReport:
        """
        Remove letters for ever.

        Args:
            chosen: Which letters.
            limit: The most letters altogether, the oldest first; all when not given.
            dry_run: Whether only to count them.
            on_progress: Called after each letter.

        Raises:
            DeadLetterIdError: When an id names no letter, or more than one.
            BrokerError: When the queue cannot be read; nothing was changed.
        """
        report = DeadReport(dry_run)
        pending, others = await self._choose(chosen, limit, report, foresee=False)
        if dry_run:
            report.done = report.chosen
            return report
        total = pending.total()

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            delivery.ack()
            report.done += 1
            if on_progress is not None:
                on_progress(report.done, total)
            return True

        return await self._settle(pending, others, act, report)

    # The two looks -----------------------------------------------------------------------------

    async def _choose(
        self,
        chosen: DeadFilter,
        limit: int | None,
        report: DeadReport,
        *,
        foresee: bool,
        reply_to: str | None = None,
    ) -> tuple[Counter[Key], int]:
        """The chosen letters, and the number of others between them."""
        keys: Counter[Key] = Counter()
        routes: dict[str, bool] = {}
        async with self.browse(chosen) as letters:
            async for letter in letters:
                if report.chosen == limit:
                    if chosen.ids:
                        continue  # an id that is ambiguous must be found to be so
                    break
                report.chosen += 1
                report.by_reason[letter.reason] += 1
                keys[key_of(letter)] += 1
                if foresee:
                    await self._foresee(letter, report, routes, reply_to)
            else:
                report.unseen = letters.unseen
        check_ids(chosen, keys)
        return keys, letters.seen - report.chosen

    async def _settle(
        self, pending: Counter[Key], others: int, act: Act, report: DeadReport
    ) -> DeadReport:
        try:
            queue = self._names.dead
            report.gone = await settle(self._transport, queue, pending, others, act)
        except (PublishError, BrokerError) as problem:
            # Report what was done, which is worth more than a bare error.
            report.stopped = describe(problem)
        return report

    # Publishing --------------------------------------------------------------------------------

    async def _foresee(
        self,
        letter: DeadLetter,
        report: DeadReport,
        routes: dict[str, bool],
        reply_to: str | None,
    ) -> None:
        """Report what a replay would do, without doing it."""
        problem = (await self.content(letter)).problem
        if problem:
            report.skipped += 1
            report.note(letter, not_as_it_is(problem))
            return
        if letter.is_outcome:
            queue = reply_to or letter.message.reply_to
            if await self._transport.stats(queue) is not None:
                report.done += 1
            else:
                report.failed += 1
                report.note(letter, no_reply_queue(queue))
            return
        route = letter.route
        if route not in routes:
            routes[route] = await self._has_queue(route)
        if routes[route]:
            report.done += 1
        else:
            report.failed += 1
            report.note(letter, no_queue(route))

    async def _has_queue(self, route: str) -> bool:
        try:
            return await self._transport.stats(self._names.work_queue(route)) is not None
        except ConfigurationError:
            # No queue can have such a name.
            return False

    def _addressed(self, message: Message, reply_to: str | None) -> Message:
        """
        With another receiver of the outcome, which can fetch it from this store if it can at all.
        """
        if reply_to is None:
            return message
        headers = dict(message.headers)
        headers.pop(names.OUT_OF_LINE, None)
        if self._bodies is not None:
            headers[names.OUT_OF_LINE] = True
        return replace(message, reply_to=reply_to, headers=headers)

    async def _publish(self, route: str, message: Message) -> str:
        """
        Publish to the work queues; see ``_send``.
        """
        return await self._send(self._names.work_exchange, route, message, no_queue(route))

    async def _deliver(self, letter: DeadLetter, reply_to: str | None) -> str:
        """Send the outcome inside a letter to its reply queue; see ``_send``."""
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


async def _done(delivery: Delivery) -> None:
    delivery.ack()
    if armed("replay_after_ack"):
        await reached_when_written("replay_after_ack")


class _Pace:
    """Limits the number of turns per second."""

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ConfigurationError(f"the rate is {rate:g}; expected more than 0 a second")
        self._interval_s = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        wait_s = self._next - now
        self._next = max(now, self._next) + self._interval_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
