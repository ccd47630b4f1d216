"""
Outcomes that arrive, and who waits for them.

An outcome belongs to a caller when effect id, replay key and hash all agree. What nobody waits
for is told apart and counted, because each means something else to whoever operates this:

* ``duplicate``: the same effect was answered before; normal after a redelivery.
* ``late``: its caller stopped waiting; a timeout is too short, or workers are too few.
* ``unclaimed``: nobody here asked. It was asked by an earlier process of the same identity, so it
  is kept, the newest up to a limit, and handed to whoever asks for the same effect next.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

from effectmq.broker.deadlines import Deadlines
from effectmq.broker.metrics.instruments import SLOW_S, Histogram
from effectmq.protocol.errors import TransportClosedError
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError

__all__ = ["Asked", "ReplyBook", "ReplyKey", "Waiter"]

_MAX_UNCLAIMED = 1_000
_MAX_CHUNKS = 10_000
_MAX_REMEMBERED = 10_000


class ReplyKey(NamedTuple):
    """What must agree for an outcome to be the answer to a request."""

    effect_id: str
    replay_key: str
    hash: str

    @classmethod
    def of_request(cls, request: Request) -> ReplyKey:
        """The key under which the answer to a request will arrive."""
        return cls(request.effect_id, request.replay_key, request.hash)


class Asked(NamedTuple):
    """A question that was published."""

    request: Request
    route: str


class Waiter:
    """A place for one answer, shared by everybody in this process who asked for the effect."""

    __slots__ = (
        "__weakref__",
        "_deadlines",
        "_reading",
        "_waiting",
        "answer",
        "asked",
        "chunks",
        "key",
        "since_s",
    )

    def __init__(self, key: ReplyKey, deadlines: Deadlines[Reply | None]) -> None:
        self.key = key
        #: When somebody asked first, by the monotonic clock.
        self.since_s = time.monotonic()
        self._deadlines = deadlines
        #: Streamed text that nobody has read yet; the oldest goes when it is too much.
        self.chunks: deque[Chunk] = deque(maxlen=_MAX_CHUNKS)
        self.answer: Reply | None = None
        #: What was published to get it, to publish it again; ``None`` while nothing was.
        self.asked: Asked | None = None
        self._waiting: list[asyncio.Future[Reply | None]] = []
        self._reading: list[asyncio.Future[None]] = []

    def resolve(self, reply: Reply) -> None:
        """The answer is here: wake everybody."""
        self.answer = reply
        for reader in self._reading:
            if not reader.done():
                reader.set_result(None)
        self._reading.clear()
        for future in self._waiting:
            if not future.done():
                future.set_result(reply)
        self._waiting.clear()

    def add(self, chunk: Chunk) -> None:
        """A piece of the outcome is here: wake whoever reads along."""
        self.chunks.append(chunk)
        for future in self._reading:
            if not future.done():
                future.set_result(None)
        self._reading.clear()

    async def more(self) -> None:
        """Wait for another chunk, or for the answer."""
        if self.chunks or self.answer is not None:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading.append(future)
        try:
            await future
        finally:
            if future in self._reading:
                self._reading.remove(future)

    def fail(self, error: TransportClosedError) -> None:
        """No answer can come any more: wake everybody with an error."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        for reader in self._reading:
            if not reader.done():
                reader.set_exception(error)
        self._reading.clear()

    async def wait(self, timeout: float | None) -> Reply:
        """
        The answer, waited for.

        Each caller waits on a future of its own, so that cancelling one leaves the others alone.

        Raises:
            TimeoutError: When it did not come within ``timeout`` seconds.
            TransportClosedError: When the book was closed meanwhile.
        """
        if self.answer is not None:
            return self.answer
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if timeout is not None:
            self._deadlines.add(future, timeout)
        try:
            answer = await future
        finally:
            self._deadlines.discard(future)
            if future in self._waiting:
                self._waiting.remove(future)
        if answer is None:
            raise TimeoutError
        return answer


def _expire(future: asyncio.Future[Reply | None]) -> None:
    # No exception: with its traceback it would keep the waiter alive until the next garbage
    # collection, and an outcome that comes meanwhile would look as if somebody had taken it.
    if not future.done():
        future.set_result(None)


class ReplyBook:
    """
    Who waits for what.

    Waiters are held by their handles only: a caller that drops its handle leaves nothing behind.

    Args:
        counters: ``answered``, ``duplicate``, ``late`` and ``unclaimed``.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        #: From asking to the outcome, in seconds.
        self.waits = Histogram(SLOW_S)
        self._waiters: weakref.WeakValueDictionary[ReplyKey, Waiter] = weakref.WeakValueDictionary()
        self._unclaimed: OrderedDict[ReplyKey, Reply] = OrderedDict()
        self._answered: OrderedDict[ReplyKey, None] = OrderedDict()
        self._given_up: OrderedDict[ReplyKey, None] = OrderedDict()
        #: What was published and not answered, whether anybody still waits or not.
        self._owed: dict[ReplyKey, None] = {}
        self._owed_more = False
        self._open = False
        self._deadlines: Deadlines[Reply | None] = Deadlines(_expire)

    def open(self) -> None:
        """Answers can come from now on."""
        self._open = True

    def close(self) -> None:
        """No more answers will come; whoever waits without a timeout must not wait for ever."""
        self._open = False
        for waiter in list(self._waiters.values()):
            waiter.fail(_closed())
        self._deadlines.close()

    def check_open(self, waiter: Waiter) -> None:
        """
        Refuse to wait for what cannot come.

        Raises:
            TransportClosedError: When the book is closed and the answer is not there.
        """
        if not self._open and waiter.answer is None:
            raise _closed()

    def wait_for(self, key: ReplyKey) -> Waiter:
        """A place for the answer; it has come already when it was among the unclaimed."""
        waiter = self._waiters.get(key)
        if waiter is None:
            waiter = self._waiters[key] = Waiter(key, self._deadlines)
            kept = self._unclaimed.pop(key, None)
            if kept is not None:
                self._resolve(waiter, kept)
        return waiter

    def note_asked(self, request: Request, route: str) -> None:
        """An effect was published, and will be answered."""
        key = ReplyKey.of_request(request)
        waiter = self._waiters.get(key)
        if waiter is not None:
            waiter.asked = Asked(request, route)
            if waiter.answer is not None:
                return
        if len(self._owed) < _MAX_REMEMBERED:
            self._owed[key] = None
        else:
            self._owed_more = True

    @property
    def owed(self) -> bool:
        """Whether an answer may still come to something that was published."""
        return bool(self._owed) or self._owed_more

    def open_questions(self) -> list[Waiter]:
        """Whoever waits for the answer to something that was published."""
        return [
            waiter
            for waiter in list(self._waiters.values())
            if waiter.asked is not None and waiter.answer is None
        ]

    def give_up(self, key: ReplyKey) -> None:
        """Remember that a caller stopped waiting."""
        _remember(self._given_up, key)

    def take(self, reply: Reply) -> None:
        """One outcome has arrived."""
        key = ReplyKey(reply.effect_id, reply.replay_key, reply.hash)
        self._owed.pop(key, None)
        waiter = self._waiters.get(key)
        if waiter is not None and waiter.answer is None:
            self._resolve(waiter, reply)
        elif key in self._answered:
            self._counters["duplicate"] += 1
        elif key in self._given_up:
            self._counters["late"] += 1
        else:
            self._counters["unclaimed"] += 1
            self._unclaimed[key] = reply
            if len(self._unclaimed) > _MAX_UNCLAIMED:
                self._unclaimed.popitem(last=False)

    def fail(self, hash_: str, code: str, message: str) -> bool:
        """
        An outcome has arrived that cannot be had: whoever waits for it hears of it.

        Args:
            hash_: The hash of the envelope that was carried out.
            code: What the controller error is to say.
            message: What the controller error is to say.

        Returns:
            Whether anybody waited.
        """
        waiting = [
            waiter
            for key, waiter in list(self._waiters.items())
            if key.hash == hash_ and waiter.answer is None
        ]
        error = RuntimeEffectControllerError(code=code, message=message)
        for waiter in waiting:
            key = waiter.key
            self._resolve(waiter, Reply(key.effect_id, key.replay_key, key.hash, error))
        return bool(waiting)

    def take_chunk(self, chunk: Chunk) -> None:
        """A piece of an outcome has arrived; without anybody who waits it is dropped."""
        waiter = self._waiters.get(ReplyKey(chunk.effect_id, chunk.replay_key, chunk.hash))
        if waiter is None or waiter.answer is not None:
            self._counters["chunks_unread"] += 1
            return
        self._counters["chunks"] += 1
        waiter.add(chunk)

    @property
    def waiting(self) -> int:
        """How many effects have somebody who waits for their outcome."""
        return sum(one.answer is None for one in list(self._waiters.values()))

    def unclaimed(self) -> list[Reply]:
        """The outcomes that nobody has asked for, oldest first."""
        return list(self._unclaimed.values())

    def _resolve(self, waiter: Waiter, reply: Reply) -> None:
        waiter.resolve(reply)
        self._counters["answered"] += 1
        self.waits.observe(time.monotonic() - waiter.since_s)
        _remember(self._answered, waiter.key)


def _closed() -> TransportClosedError:
    return TransportClosedError(
        "the client is not open, so no outcome can arrive; wait inside 'async with Client(...) as "
        "client'. An outcome that comes now stays in the reply queue of the client's identity"
    )


def _remember(keys: OrderedDict[ReplyKey, None], key: ReplyKey) -> None:
    keys[key] = None
    if len(keys) > _MAX_REMEMBERED:
        keys.popitem(last=False)
