"""
The numbers of a turn's effects, and whether a second run would give them out in the same order.

A number is part of a replay key, so a second run must ask in the order of the first. Inside of one
task it does, whatever it waits for. Between tasks the order is that of their waiting, which is by
chance; that is noticed here, without locks or hooks, by three rules:

* What a task's creator had taken is known to the task, because a task copies its creator's context.
* What was taken by a task that has ended is taken to be known: somebody awaited it.
* Tasks that were ready to run at one moment begin in the order in which they were created.

Whatever else another task took is in no order with what this task takes.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import warnings
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["Numbers", "ReplayOrderWarning"]

#: The largest number of 64 bits names something else in the wire format.
_MOST = 2**64 - 2

_MESSAGE = (
    "several tasks took numbers of one turn side by side, and a second run may give them out in "
    "another order: recorded outcomes are not found then, so that effects run again, or they are "
    "those of other effects (effectmq_hash_conflict). Use turn.map for calls side by side, "
    "turn.branch(name) for each task of several steps, or number= for single calls; "
    "docs/replay-keys.md says how"
)

_Task = asyncio.Task[Any]


class _Seen(NamedTuple):
    """
    What a context knows of a turn's numbers.

    Attributes:
        turn: Which turn, as a number of this process.
        all_to: The number up to which all are known.
        makers: Tasks that this one comes from, and itself, by their first numbers; each with the
            last of its numbers that is known.
    """

    turn: int
    all_to: int
    makers: tuple[tuple[int, int], ...]


#: A ``_Seen`` as it is kept.
_Known = tuple[int, int, tuple[tuple[int, int], ...]]


class _Taker(NamedTuple):
    first: int
    last: int


_turns = itertools.count()
#: The turns that this context took numbers of, latest last. A task copies it from its maker.
#: They are plain tuples, which the garbage collector does not look at each time.
_seen: ContextVar[tuple[_Known, ...]] = ContextVar("effectmq_numbers_seen", default=())
#: So many are remembered, for programs that use several turns in alternation.
_MOST_SEEN = 16


class ReplayOrderWarning(RuntimeWarning):
    """Numbers of a turn were taken in an order that a second run need not repeat."""


class Numbers:
    """The numbers of one turn: counted from 1, or given by the caller."""

    __slots__ = ("_count", "_order", "_own")

    def __init__(self) -> None:
        self._count = 0
        self._own: set[int] | None = None
        self._order = _Order()

    def take(self, own: int | None) -> int:
        """
        The next number, or the caller's own.

        Raises:
            ConfigurationError: When the caller's is no number, or counted and own numbers meet.
        """
        if own is not None:
            self._check(own)
            if self._own is None:
                self._own = set()
            self._own.add(own)
            return own
        number = self._count + 1
        if self._own is not None and number in self._own:
            raise ConfigurationError(
                f"the turn's next number is {number}, which was given as number={number} before; "
                "give every call of the turn a number, or use larger ones, from 1001 on for "
                "instance"
            )
        self._count = number
        self._order.took(number)
        return number

    def _check(self, own: object) -> None:
        if not isinstance(own, int) or isinstance(own, bool) or not 1 <= own <= _MOST:
            raise ConfigurationError(
                f"number is {printable(repr(own), 60)}; expected an integer from 1 to 2**64 - 2"
            )
        if own <= self._count:
            raise ConfigurationError(
                f"number={own} was counted already: the turn has counted to {self._count}; give "
                "every call of the turn a number, or use larger ones, from 1001 on for instance"
            )


class _Takers:
    """
    The tasks that took numbers, for as long as they exist.

    Mostly there is one, and thousands of turns may be in use: a dict of weak keys is made of seven
    objects.
    """

    __slots__ = ("_first", "_first_taker", "_others")

    def __init__(self) -> None:
        self._first: ref[_Task] | None = None
        self._first_taker = _Taker(0, 0)
        self._others: WeakKeyDictionary[_Task, _Taker] | None = None

    @property
    def none(self) -> bool:
        """Whether nobody has taken any."""
        return self._first is None and self._others is None

    def get(self, task: _Task) -> _Taker | None:
        """What a task took."""
        if self._first is not None and self._first() is task:
            return self._first_taker
        return None if self._others is None else self._others.get(task)

    def put(self, task: _Task, taker: _Taker) -> None:
        """Note what a task took."""
        if self._first is None:
            self._first, self._first_taker = ref(task), taker
            return
        if self._first() is task:
            self._first_taker = taker
            return
        if self._others is None:
            self._others = WeakKeyDictionary()
        self._others[task] = taker

    def clear(self) -> None:
        """Forget all."""
        self._first = self._others = None

    def besides(self, task: _Task) -> list[_Taker]:
        """What the others took that have not ended."""
        first = None if self._first is None else self._first()
        running = list[_Taker]()
        if first is not None and first is not task and not first.done():
            running.append(self._first_taker)
        if self._others is not None:
            for each in [each for each in self._others if each.done()]:
                del self._others[each]
            running += [taker for each, taker in self._others.items() if each is not task]
        return running


class _Order:
    """Warns once when tasks took numbers in an order that is by chance."""

    __slots__ = ("_before", "_takers", "_told", "_turn")

    def __init__(self) -> None:
        self._turn = next(_turns)
        self._takers = _Takers()
        #: Those of before, while tasks that were ready together take their first numbers.
        self._before: list[_Taker] | None = None
        self._told = False

    def took(self, number: int) -> None:
        """A number was taken here and now."""
        task = _current_task()
        if task is None or self._told:
            return
        if self._before is None and self._takers.none:
            # Mostly it is the first of its turn: there is nothing that could be out of order.
            self._begin_together([])
            self._takers.put(task, _Taker(number, number))
            _seen.set((*_seen.get()[1 - _MOST_SEEN :], (self._turn, number, ())))
            return
        mine = self._takers.get(task)
        together = mine is None and self._before is not None
        others = self._before if together else self._takers.besides(task)
        seen = self._seen_here(number)
        if any(not _knows(seen, other) for other in others or ()):
            self._told = True
            self._takers.clear()
            warnings.warn(_MESSAGE, ReplayOrderWarning, stacklevel=_frames_of_ours())
            return
        if mine is None and not together:
            self._begin_together(self._takers.besides(task))
        first = number if mine is None else mine.first
        self._takers.put(task, _Taker(first, number))
        # Those that began together are in order, and still do not know how the others go on.
        all_to = seen.all_to if together else number
        makers = (*seen.makers, (first, number)) if together else ()
        self._see(_Seen(self._turn, all_to, makers))

    def _seen_here(self, number: int) -> _Seen:
        everything = _seen.get()
        for turn, all_to, makers in everything:
            if turn == self._turn:
                return _Seen(turn, all_to, makers)
        # Out of a full memory it may have gone, and is taken to be known.
        return _Seen(self._turn, number if len(everything) == _MOST_SEEN else 0, ())

    def _see(self, seen: _Seen) -> None:
        rest = [one for one in _seen.get() if one[0] != self._turn]
        _seen.set((*rest[1 - _MOST_SEEN :], (seen.turn, seen.all_to, seen.makers)))

    def _begin_together(self, before: list[_Taker]) -> None:
        """Whoever is ready to run now takes its first number before the callback runs."""
        self._before = before
        asyncio.get_running_loop().call_soon(self._end_together)

    def _end_together(self) -> None:
        self._before = None


def _knows(seen: _Seen, other: _Taker) -> bool:
    return other.last <= seen.all_to or (other.first, other.last) in seen.makers


def _current_task() -> _Task | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        # A turn makes envelopes without a running loop, too.
        return None


def _frames_of_ours() -> int:
    """How far above the caller the line is that is not in this package."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("effectmq."):
        frame, level = frame.f_back, level + 1
    return level
