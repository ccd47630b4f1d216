"""
Outcomes that arrive, and the callers that wait for them.

An outcome belongs to a caller when effect id, replay key and hash all agree. An outcome without a
caller is counted by its cause, because each cause means something else to an operator:

* ``duplicate``: the same effect was answered before; normal after a redelivery.
* ``late``: its caller stopped waiting; a timeout is too short, or workers are too few.
* ``unclaimed``: this process did not ask for it. An earlier process of the same identity did, so it
  is kept, the newest up to a limit, for the next caller that asks for the same effect.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

from effectmq.broker.deadlines import Deadlines
from effectmq.broker.metrics.instruments import SLOW_S, Histogram
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.errors import TransportClosedError
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError

__all__ = ["Asked", "ReplyBook", "ReplyKey", "Waiter", "request_again"]

_MAX_UNCLAIMED = 1_000
_MAX_CHUNKS = 10_000
_MAX_REMEMBERED = 10_000


#: What must agree for an outcome to be the answer to a request: effect id, replay key and hash. The
#: garbage collector does not look at plain tuples of texts each time.
ReplyKey = tuple[str, str, str]


class Asked(NamedTuple):
    """
    An effect that was published, as it is remembered until it is answered.

    The message has everything, and ``read_request`` gives the rest of it back when that is needed.
    What a program made the effect of is several times as large, and need not live as long.
    """

    message: Message
    route: str

    @property
    def request(self) -> Request:
        """The effect again; its message was within the limits when it was made."""
        return request_again(self.message)


def request_again(message: Message) -> Request:
    """The effect of a message that this process made."""
    return read_request(message, Limits(max_body_bytes=max(1, len(message.body))))


class Waiter:
    """A place for one answer, shared by all callers in this process that asked for the effect."""

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_deadlines",
        "_first",
        "_others",
        "_reading",
        "answer",
        "key",
        "message",
        "progress",
        "route",
        "since_s",
    )

    def __init__(self, key: ReplyKey, deadlines: Deadlines[asyncio.Future[Reply | None]]) -> None:
        self.key = key
        #: When somebody asked first, by the monotonic clock.
        self.since_s = time.monotonic()
        self._deadlines = deadlines
        # Made when the first piece or the first reader comes: most effects stream nothing, and
        # with ten thousand in flight an empty deque for each is ten megabytes.
        self._chunks: deque[Chunk] | None = None
        self.answer: Reply | None = None
        #: How far the effect was when it was told last.
        self.progress: Progress | None = None
        #: The message of the published effect; ``None`` before, and when it is answered.
        self.message: Message | None = None
        self.route = ""
        # One caller is usual, and needs no list.
        self._first: asyncio.Future[Reply | None] | None = None
        self._others: list[asyncio.Future[Reply | None]] | None = None
        self._reading: list[asyncio.Future[None]] | None = None

    @property
    def effect_id(self) -> str:
        """The effect that is asked for."""
        return self.key[0]

    @property
    def asked(self) -> Asked | None:
        """The published effect, to publish it again; ``None`` before, and when it is answered."""
        return None if self.message is None else Asked(self.message, self.route)

    @property
    def chunks(self) -> deque[Chunk]:
        """Streamed text that was not read yet; the oldest is dropped when there is too much."""
        if self._chunks is None:
            self._chunks = deque(maxlen=_MAX_CHUNKS)
        return self._chunks

    def resolve(self, reply: Reply) -> None:
        """Set the answer, and wake all callers."""
        self.answer = reply
        self.message = None
        self._wake_readers()
        for future in self.callers:
            if not future.done():
                future.set_result(reply)
        self._first = self._others = None

    @property
    def callers(self) -> list[asyncio.Future[Reply | None]]:
        """The futures of those who wait."""
        return ([] if self._first is None else [self._first]) + (self._others or [])

    def add(self, chunk: Chunk) -> None:
        """Add a streamed piece, and wake its readers."""
        self.chunks.append(chunk)
        if chunk.progress is not None:
            self.progress = chunk.progress
        self._wake_readers()

    def _wake_readers(self, error: TransportClosedError | None = None) -> None:
        reading, self._reading = self._reading, None
        for reader in reading or ():
            if reader.done():
                continue
            if error is None:
                reader.set_result(None)
            else:
                reader.set_exception(error)

    async def more(self) -> None:
        """Wait for another chunk, or for the answer."""
        if not self._chunks:
            await self._told_more()

    async def further(self, shown: Progress | None) -> None:
        """Wait for another progress than what is shown, or for the answer."""
        while self.progress is shown and self.answer is None:
            await self._told_more()

    async def _told_more(self) -> None:
        if self.answer is not None:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reading = self._reading = self._reading or []
        reading.append(future)
        try:
            await future
        finally:
            if future in reading:
                reading.remove(future)

    def fail(self, error: TransportClosedError) -> None:
        """No answer can come any more: wake all callers with an error."""
        for future in self.callers:
            if not future.done():
                future.set_exception(error)
        self._first = self._others = None
        self._wake_readers(error)

    def expect(self, timeout: float | None = None) -> asyncio.Future[Reply | None]:
        """
        A future of one caller for the answer; to be handed to ``forget`` when its wait is over.

        Each caller waits on its own, so that cancelling one leaves the others alone. Its result is
        ``None`` when the time was over.

        Args:
            timeout: Seconds to wait; no limit when not given.
        """
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        if self._first is None:
            self._first = future
        elif self._others is None:
            self._others = [future]
        else:
            self._others.append(future)
        if timeout is not None:
            self._deadlines.add(future, timeout)
        return future

    def limit(self, future: asyncio.Future[Reply | None], timeout: float) -> None:
        """Set the time of a future that was made without."""
        self._deadlines.add(future, timeout)

    def forget(self, future: asyncio.Future[Reply | None]) -> None:
        """The wait of a caller is over."""
        self._deadlines.discard(future)
        if future is self._first:
            self._first = None
        elif self._others is not None and future in self._others:
            self._others.remove(future)

    async def wait(self, timeout: float | None) -> Reply:
        """
        Wait for the answer.

        Raises:
            TimeoutError: When it did not come within ``timeout`` seconds.
            TransportClosedError: When the book was closed meanwhile.
        """
        if self.answer is not None:
            return self.answer
        future = self.expect(timeout)
        try:
            answer = await future
        finally:
            self.forget(future)
        if answer is None:
            raise TimeoutError
        return answer


def _expire(future: asyncio.Future[Reply | None]) -> None:
    # No exception: with its traceback it would keep the waiter alive until the next garbage
    # collection, and an outcome that comes meanwhile would seem to have a caller.
    if not future.done():
        future.set_result(None)


class ReplyBook:
    """
    The callers that wait, by effect.

    Only the handles hold waiters: a caller that drops its handle leaves nothing behind.

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
        #: What was published and not answered, whether a caller still waits or not.
        self._owed: dict[ReplyKey, None] = {}
        self._owed_more = False
        self._open = False
        self._deadlines: Deadlines[asyncio.Future[Reply | None]] = Deadlines(_expire)

    def open(self) -> None:
        """Answers can arrive from now on."""
        self._open = True

    def close(self) -> None:
        """No more answers will come; callers without a timeout must not wait for ever."""
        self._open = False
        for waiter in list(self._waiters.values()):
            waiter.fail(_closed())
        self._deadlines.close()

    def check_open(self, waiter: Waiter) -> None:
        """
        Refuse to wait for an answer that cannot come.

        Raises:
            TransportClosedError: When the book is closed and the answer is not there.
        """
        if not self._open and waiter.answer is None:
            raise _closed()

    def wait_for(self, key: ReplyKey) -> Waiter:
        """A place for the answer; it is there already when it was among the unclaimed."""
        waiter = self._waiters.get(key)
        if waiter is None:
            waiter = self._waiters[key] = Waiter(key, self._deadlines)
            kept = self._unclaimed.pop(key, None)
            if kept is not None:
                self._resolve(waiter, kept)
        return waiter

    def note_asked(self, waiter: Waiter, message: Message, route: str) -> None:
        """Note that an effect was published, and will be answered."""
        if waiter.answer is not None:
            return
        waiter.message, waiter.route = message, route
        if len(self._owed) < _MAX_REMEMBERED:
            self._owed[waiter.key] = None
        else:
            self._owed_more = True

    @property
    def owed(self) -> bool:
        """Whether an answer may still come to something that was published."""
        return bool(self._owed) or self._owed_more

    def open_questions(self) -> list[Waiter]:
        """The waiters for published effects without an answer."""
        return [
            waiter
            for waiter in list(self._waiters.values())
            if waiter.message is not None and waiter.answer is None
        ]

    def give_up(self, key: ReplyKey) -> None:
        """Remember that a caller stopped waiting."""
        _remember(self._given_up, key)

    def take(self, reply: Reply) -> None:
        """Handle an outcome that has arrived."""
        key = (reply.effect_id, reply.replay_key, reply.hash)
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
        Handle an outcome that has arrived but cannot be read: its callers get an error.

        Args:
            hash_: The hash of the envelope that was carried out.
            code: The code of the controller error.
            message: The message of the controller error.

        Returns:
            Whether a caller waited.
        """
        waiting = [
            waiter
            for key, waiter in list(self._waiters.items())
            if key[2] == hash_ and waiter.answer is None
        ]
        error = RuntimeEffectControllerError(code=code, message=message)
        for waiter in waiting:
            self._resolve(waiter, Reply(*waiter.key, error))
        return bool(waiting)

    def take_chunk(self, chunk: Chunk) -> None:
        """Handle a piece of an outcome; without a caller it is dropped."""
        waiter = self._waiters.get((chunk.effect_id, chunk.replay_key, chunk.hash))
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
        """The outcomes that no caller has asked for, oldest first."""
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
