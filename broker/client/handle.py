"""The handle of a submitted effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from effectmq.broker.client.asking.timeouts import checked_timeout
from effectmq.broker.client.replies.book import ReplyBook, Waiter, request_again
from effectmq.broker.store.journal.recall import failure_of
from effectmq.protocol.errors import EffectTimeoutError
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcome

__all__ = ["Handle", "OnChunk", "OnProgress", "outcome_in"]

T = TypeVar("T")

#: Gets what an effect streams, piece by piece; its errors end the wait, not the effect.
OnChunk = Callable[[Chunk], Awaitable[None] | None]
#: Is told how far an effect is; its errors end the wait, not the effect.
OnProgress = Callable[[Progress], Awaitable[None] | None]


class Handle:
    """
    A submitted effect, to wait on.

    Attributes:
        effect_id: Its id inside its scope.
        replay_key: Its replay key.
        hash: The hash of its envelope.
    """

    def __init__(self, message: Message, waiter: Waiter, book: ReplyBook) -> None:
        self.effect_id, self.replay_key, self.hash = waiter.key
        # The message has everything, and is a fraction of what it was made of.
        self._message = message
        self._request: Request | None = None
        self._waiter = waiter
        self._book = book

    @property
    def request(self) -> Request:
        """The published effect; read from its message when it is asked for first."""
        if self._request is None:
            self._request = request_again(self._message)
        return self._request

    @property
    def scope_id(self) -> str:
        """The id of its scope; together with the replay key its permanent name."""
        return self.request.identity.scope_id

    @property
    def done(self) -> bool:
        """Whether the outcome has arrived."""
        return self._waiter.answer is not None

    @property
    def answer(self) -> Reply | None:
        """The whole answer, when it has arrived."""
        return self._waiter.answer

    async def chunks(self) -> AsyncIterator[Chunk]:
        """
        Text that the effect streams while it runs, until its outcome has arrived.

        A chunk without text may say how far the effect is, in ``progress``. Pieces may get lost:
        numbers may be missing. A chunk with a higher ``attempt`` means that the effect started
        again, and the earlier text is void. It ends with the outcome only; limit it with
        ``asyncio.timeout``.
        """
        waiter = self._waiter
        while True:
            await waiter.more()
            while waiter.chunks:
                yield waiter.chunks.popleft()
            if waiter.answer is not None:
                return

    async def progress(self) -> AsyncIterator[Progress]:
        """
        How far the effect is, until its outcome has arrived.

        The latest counts: one that was followed by another before it was read is left out, and any
        may get lost. A higher ``attempt`` begins anew. Others may read ``chunks`` meanwhile. It
        ends with the outcome only; limit it with ``asyncio.timeout``.

        Raises:
            TransportClosedError: When the client is not open, so that nothing can arrive.
        """
        waiter, shown = self._waiter, None
        self._book.check_open(waiter)
        while True:
            await waiter.further(shown)
            latest = waiter.progress
            if latest is not None and latest is not shown:
                shown = latest
                yield latest
            elif waiter.answer is not None:
                return

    async def reply(self, timeout: float | None = None, *, given: float | None = None) -> Reply:
        """
        Wait for the whole answer: the outcome or error, the attempt, and whether it was replayed.

        Args:
            timeout: Seconds to wait; without limit when not given.
            given: The time that an error names, when ``timeout`` is the rest of it.

        Raises:
            EffectTimeoutError: When it did not arrive within ``timeout`` seconds. The effect goes
                on, and the handle can be waited on again.
            TransportClosedError: When the client is not open, so that no answer can arrive.
        """
        timeout = checked_timeout(timeout)
        self._book.check_open(self._waiter)
        try:
            return await self._waiter.wait(timeout)
        except TimeoutError:
            self._book.give_up(self._waiter.key)
            named_s = timeout if given is None else given
            raise EffectTimeoutError(self.effect_id, named_s or 0.0) from None

    async def outcome(
        self,
        timeout: float | None = None,
        *,
        on_chunk: OnChunk | None = None,
        on_progress: OnProgress | None = None,
    ) -> RuntimeEffectOutcome:
        """
        Wait for the outcome.

        Args:
            timeout: Seconds to wait; without limit when not given.
            on_chunk: Called with each piece that the effect streams meanwhile; may be a coroutine
                function. Its errors end the wait, not the effect.
            on_progress: Called when the effect says how far it is, in the same way.

        Raises:
            EffectFailedError: When a controller error came back instead; ``EffectMismatchError``,
                ``EffectCancelledError`` and ``EffectSupersededError`` are kinds of it.
            EffectTimeoutError: When neither came within ``timeout`` seconds.
            TransportClosedError: When the client is not open, so that no answer can arrive.
        """
        if on_chunk is None and on_progress is None:
            reply = await self.reply(timeout)
        else:
            await self._read_along(checked_timeout(timeout), on_chunk, on_progress)
            reply = await self.reply(0, given=timeout)
        return outcome_in(self.effect_id, reply)

    async def _read_along(
        self, timeout: float | None, on_chunk: OnChunk | None, on_progress: OnProgress | None
    ) -> None:
        """Pass on what is told until the outcome is here, or the time is over."""
        self._book.check_open(self._waiter)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                if on_chunk is None:
                    await _passed_on(self.progress(), on_progress)
                else:
                    await _passed_on(self.chunks(), _both(on_chunk, on_progress))
        except TimeoutError:
            # An error of the caller's function is raised like any other.
            if not limit.expired():
                raise


async def _passed_on(
    told: AsyncIterator[T], take: Callable[[T], Awaitable[None] | None] | None
) -> None:
    async for each in told:
        taken = None if take is None else take(each)
        if taken is not None:
            await taken


def _both(on_chunk: OnChunk, on_progress: OnProgress | None) -> OnChunk:
    """What takes chunks, for one reader or for two; in the order in which they came."""
    if on_progress is None:
        return on_chunk

    async def take(chunk: Chunk) -> None:
        taken = on_chunk(chunk)
        if taken is not None:
            await taken
        told = None if chunk.progress is None else on_progress(chunk.progress)
        if told is not None:
            await told

    return take


def outcome_in(effect_id: str, reply: Reply) -> RuntimeEffectOutcome:
    """
    The outcome in an answer.

    Raises:
        EffectFailedError: When it is a controller error; ``EffectMismatchError``,
            ``EffectCancelledError`` and ``EffectSupersededError`` are kinds of it.
    """
    if isinstance(reply.result, RuntimeEffectControllerError):
        raise failure_of(effect_id, reply.result)
    return reply.result
