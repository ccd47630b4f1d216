"""What an effect streams while it runs, and what it gave in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from effectmq.broker.client.handle import Handle
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["Pending", "Stream"]

R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Pending:
    """
    An effect that was asked for.

    Attributes:
        handle: Holds it.
        end: The time of the event loop until which to wait; ``None`` for no limit.
        outcome: Waits until then for the outcome, and says what is known when none came.
    """

    handle: Handle
    end: float | None
    outcome: Callable[[], Awaitable[RuntimeEffectOutcome]]


class Stream(Generic[R]):
    """
    The pieces of one effect, for one reader; ``async for`` gives them, ``result`` what they make.

    The effect is asked for when the first piece or the result is. Pieces are lossy by contract:
    numbers may be missing, and a higher ``attempt`` means that the effect began again, so that what
    was shown before is void. Of a recorded outcome there are none. Whoever stops reading leaves
    nothing behind; the effect goes on.

    Args:
        begin: Asks for the effect.
        read: What an outcome is for the reader.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[Pending]],
        read: Callable[[RuntimeEffectOutcome], R],
    ) -> None:
        self._begin = begin
        self._read = read
        self._pending: Pending | None = None
        self._pieces: AsyncIterator[Chunk] | None = None

    def read_as(self, read: Callable[[R], S]) -> Stream[S]:
        """The same stream, with another result; for whoever reads it instead of this one."""
        return Stream(self._begin, lambda outcome: read(self._read(outcome)))

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> Chunk:
        """
        The next piece.

        Raises:
            EffectFailedError: When a controller error came, after the last piece; the others that
                ``Client.execute`` raises, too.
        """
        pending = await self._asked()
        if self._pieces is None:
            self._pieces = pending.handle.chunks()
        limit = asyncio.timeout_at(pending.end)
        try:
            async with limit:
                return await anext(self._pieces)
        except StopAsyncIteration:
            # There is no piece after an error that nobody could see otherwise.
            await pending.outcome()
            raise
        except TimeoutError:
            if not limit.expired():
                raise
        await pending.outcome()
        raise StopAsyncIteration

    async def result(self) -> R:
        """
        What awaiting the effect would have given; pieces that were not read are dropped.

        Raises:
            EffectFailedError: When a controller error came back; the others that ``Client.execute``
                raises, too.
        """
        return self._read(await (await self._asked()).outcome())

    async def _asked(self) -> Pending:
        if self._pending is None:
            self._pending = await self._begin()
        return self._pending
