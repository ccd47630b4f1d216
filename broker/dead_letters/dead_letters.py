"""
Operations on dead letters: look, replay, edit and replay, remove.

A replay publishes the effect to the queue of its kind, waits for the broker's confirmation, and
only then removes the letter. A crash in between leaves two copies, never none.

An operation that changes the queue looks at it twice. The first look finds all chosen letters, so
that an ambiguous id is refused before anything is done. The second settles only these, so that an
effect that fails again and is parked again is not replayed for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from effectmq.broker.crashpoints import armed, reached_when_written
from effectmq.broker.dead_letters.choosing import Chooser, QueueChooser
from effectmq.broker.dead_letters.content import DeadContent, fetch_content
from effectmq.broker.dead_letters.edit import DeadEdit, edit_letter
from effectmq.broker.dead_letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.dead_letters.patching import Patch
from effectmq.broker.dead_letters.queue.browser import (
    AT_ONCE,
    DeadBrowser,
    DeadLettersInUseError,
    DeadLettersLostError,
    Turn,
)
from effectmq.broker.dead_letters.queue.settling import Act, Pending, settle
from effectmq.broker.dead_letters.report import (
    DeadLetterIdError,
    DeadReport,
    EditPreview,
    no_queue,
    not_as_it_is,
)
from effectmq.broker.dead_letters.sending import Foresight, Pace, Sender
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import Limits
from effectmq.protocol.encoding.differences import differences
from effectmq.protocol.errors import (
    AttachmentStoreError,
    BrokerError,
    MalformedError,
    PayloadTooLargeError,
    ProtocolError,
    PublishError,
    UnroutableError,
)
from effectmq.protocol.messages.dead_letter import DeadLetter, revived_message
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

#: So many members that differ are told of one edit.
_MAX_CHANGES = 100

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
        chooser: Finds the letters that are meant; by default by looking through the queue.
        on_settled: Called with the id of each letter that was taken off the queue.
        turn: How to wait until another reader of the queue has left.
    """

    def __init__(
        self,
        transport: Transport,
        topology: TopologySettings,
        limits: Limits | None = None,
        bodies: LargeBodies | None = None,
        *,
        chooser: Chooser | None = None,
        on_settled: Callable[[str], None] | None = None,
        turn: Turn | None = None,
    ) -> None:
        self._transport = transport
        self._names = Names(topology.namespace)
        self._limits = limits or Limits()
        self._bodies = bodies
        self._sender = Sender(transport, self._names, kept_elsewhere=bodies is not None)
        self._chooser = chooser or QueueChooser(transport, self._names.dead, turn or AT_ONCE)
        self._turn = turn
        self._on_settled = on_settled

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
        return DeadBrowser(self._transport, self._names.dead, chosen, turn=self._turn or AT_ONCE)

    async def content(self, letter: DeadLetter) -> DeadContent:
        """The content of a letter, decoded as far as possible."""
        return await fetch_content(letter, self._limits, self._bodies)

    async def find(self, letter_id: str) -> DeadLetter:
        """
        One letter, by its id or the beginning of it.

        Raises:
            DeadLetterIdError: When there is none, or more than one.
        """
        found: DeadLetter | None = None

        async def keep(letter: DeadLetter) -> None:
            nonlocal found
            found = found or letter

        await self._chooser.choose(DeadFilter(ids=(letter_id,)), None, DeadReport(), keep)
        assert found is not None
        return found

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
        pace = Pace(rate)
        report = DeadReport(dry_run)
        foresight = Foresight(self._sender, self.content, report, reply_to)
        foresee = foresight.look if dry_run else None
        pending, others = await self._chooser.choose(chosen, limit, report, foresee)
        if dry_run:
            return report

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            await pace.turn()
            return await self._replay(delivery, letter, report, reply_to)

        return await self._settle_once(pending, others, act, report, on_progress)

    async def replay_patched(
        self,
        chosen: DeadFilter,
        patch: Patch,
        *,
        rate: float = DEFAULT_RATE,
        limit: int | None = None,
        dry_run: bool = False,
        on_progress: Progress | None = None,
    ) -> DeadReport:
        """
        Send letters back with a patch applied to the envelope of each; see ``patching``.

        What the patch makes of every letter is checked before anything moves: when one of them
        cannot take it, none is replayed, and the report says which and why.

        Args:
            chosen: Which ones.
            patch: What to change.
            rate: How many a second at most.
            limit: How many altogether, the oldest first; all when not given.
            dry_run: Only say what would become of them.
            on_progress: Called after each letter.

        Raises:
            DeadLetterIdError: When an id names no letter, or more than one.
            BrokerError: When the letters cannot be looked at; nothing was changed.
        """
        pace = Pace(rate)
        report = DeadReport(dry_run)

        async def check(letter: DeadLetter) -> None:
            try:
                edit, preview = await self._patched(letter, patch)
            except (ProtocolError, PayloadTooLargeError) as problem:
                report.skipped += 1
                report.note(letter, f"the patch cannot be applied: {describe(problem)}")
                return
            report.preview(preview)
            if await self._sender.has_queue(edit.route):
                report.done += 1
            else:
                report.failed += 1
                report.note(letter, no_queue(edit.route))

        pending, others = await self._chooser.choose(chosen, limit, report, check)
        if dry_run:
            return report
        report.done = 0
        if report.skipped or report.failed:
            report.stopped = (
                f"the patch does not fit {report.skipped + report.failed} of {report.chosen} "
                "letters, so none was replayed; choose others, or mend the patch"
            )
            return report

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            await pace.turn()
            try:
                edit, _ = await self._patched(letter, patch)
            except (ProtocolError, PayloadTooLargeError) as problem:
                # Its body, which is kept elsewhere, is gone since it was checked.
                report.skipped += 1
                report.note(letter, f"the patch cannot be applied: {describe(problem)}")
                return False
            message = edit.message
            if self._bodies is not None:
                message = await self._bodies.outgoing(message)
            refusal = await self._sender.effect(edit.route, message)
            return await _sent(delivery, letter, refusal, report)

        return await self._settle_once(pending, others, act, report, on_progress)

    async def _patched(self, letter: DeadLetter, patch: Patch) -> tuple[DeadEdit, EditPreview]:
        """
        What a patch makes of a letter.

        Raises:
            ProtocolError: When it does not apply, or the result cannot be carried out.
            PayloadTooLargeError: When the result is over the size cap.
        """
        content = await self.content(letter)
        if content.tree is None:
            raise MalformedError("", content.problem or "the body of the letter is no JSON data")
        changed = patch.applied(content.tree)
        limits = self._bodies.limits(self._limits) if self._bodies else self._limits
        edit = edit_letter(letter, canonical_json(changed), limits)
        changes = tuple(islice(differences(content.tree, changed), _MAX_CHANGES))
        request = edit.request
        preview = EditPreview(letter.id, request.effect_id, edit.edited_from, request.hash, changes)
        return edit, preview

    async def _replay(
        self, delivery: Delivery, letter: DeadLetter, report: DeadReport, reply_to: str | None
    ) -> bool:
        problem = (await self.content(letter)).problem
        if problem:
            report.skipped += 1
            report.note(letter, not_as_it_is(problem))
            return False
        if letter.is_outcome:
            refusal = await self._sender.outcome(letter, reply_to)
        else:
            message = self._sender.addressed(revived_message(letter), reply_to)
            refusal = await self._sender.effect(letter.route, message)
        return await _sent(delivery, letter, refusal, report)

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
        letter: DeadLetter | None = None

        async def keep(found: DeadLetter) -> None:
            nonlocal letter
            letter = letter or found

        pending, others = await self._chooser.choose(
            DeadFilter(ids=(letter_id,)), None, DeadReport(), keep
        )
        assert letter is not None
        limits, bodies = self._limits, self._bodies
        edit = edit_letter(letter, document, bodies.limits(limits) if bodies else limits)
        if dry_run:
            return edit
        message = self._sender.addressed(edit.message, reply_to)
        if bodies is not None:
            message = await bodies.outgoing(message)
        published = False

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            nonlocal published
            if not published:
                refusal = await self._sender.effect(edit.route, message)
                if refusal:
                    raise UnroutableError(f"{refusal}. The letter {letter.id} is still there")
                published = True
            await _done(delivery)
            self._note_settled(letter)
            return True

        await settle(self._transport, self._names.dead, pending, others, act, self._turn)
        if not published:
            raise DeadLetterIdError(
                f"the dead letter {letter.id} was taken off the queue by another program meanwhile"
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
        pending, others = await self._chooser.choose(chosen, limit, report, None)
        if dry_run:
            report.done = report.chosen
            return report

        async def act(delivery: Delivery, letter: DeadLetter) -> bool:
            delivery.ack()
            report.done += 1
            self._note_settled(letter)
            if on_progress is not None:
                on_progress(report.done, pending.total)
            return True

        return await self._settle(pending, others, act, report)

    # Settling ----------------------------------------------------------------------------------

    async def _settle_once(
        self,
        pending: Pending,
        others: int,
        act: Act,
        report: DeadReport,
        on_progress: Progress | None,
    ) -> DeadReport:
        """Settle them, each parking once: what was parked once and confirmed twice runs once."""
        settled_copies: set[tuple[str, str]] = set()

        async def once(delivery: Delivery, letter: DeadLetter) -> bool:
            parking = (letter.id, letter.message.reply_to)
            if letter.parked_ms and parking in settled_copies:
                report.copies += 1
                delivery.ack()
                settled = True
            else:
                settled = await act(delivery, letter)
                if settled and pending.is_copied(letter.id):
                    settled_copies.add(parking)
            if settled:
                self._note_settled(letter)
            if on_progress is not None:
                on_progress(report.settled, pending.total)
            return settled

        return await self._settle(pending, others, once, report)

    async def _settle(
        self, pending: Pending, others: int, act: Act, report: DeadReport
    ) -> DeadReport:
        try:
            queue = self._names.dead
            report.gone = await settle(self._transport, queue, pending, others, act, self._turn)
        except (PublishError, BrokerError, AttachmentStoreError) as problem:
            # What was done is done, and worth more than a bare error.
            report.stopped = describe(problem)
        return report

    def _note_settled(self, letter: DeadLetter) -> None:
        if self._on_settled is not None:
            self._on_settled(letter.id)


async def _sent(delivery: Delivery, letter: DeadLetter, refusal: str, report: DeadReport) -> bool:
    if refusal:
        report.failed += 1
        report.note(letter, refusal)
        return False
    await _done(delivery)
    report.done += 1
    return True


async def _done(delivery: Delivery) -> None:
    delivery.ack()
    if armed("replay_after_ack"):
        await reached_when_written("replay_after_ack")
