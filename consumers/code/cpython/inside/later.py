"""
Calls that are under way while the block goes on, and an event loop that waits for them.

There is one pipe to the worker. When the loop has nothing else to do, it asks for one answer: that
of the oldest call that is awaited, whatever is ready. So the code goes on in the same order in
every run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from effectmq.consumers.code.cpython.inside.timers import Timers
from effectmq.consumers.code.cpython.inside.wire import Wire

if TYPE_CHECKING:
    import asyncio

__all__ = ["Calls"]

_Awaited = Callable[[object], object]
#: The types that a call can return.
_PLAIN: tuple[type, ...] = (type(None), bool, int, float, str, list, dict)


class Calls:
    """
    The calls of a block that are under way.

    Args:
        wire: Asks the worker.
        limit_bytes: The limit of the arguments of one call.
        timers: Give the time of the event loops.
    """

    def __init__(self, wire: Wire, limit_bytes: int, timers: Timers) -> None:
        self._wire = wire
        self._timers = timers
        self._limit_bytes = limit_bytes
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[object]] = {}
        #: Whether any call had its result at once.
        self.given = False

    def awaited(self, value: object) -> object:
        """
        An awaitable that stands for a value.

        For the author of the block, a call with a result is still a coroutine, so its result may be
        awaited and gathered as one.
        """
        if not self.given or hasattr(value, "__await__"):
            return value
        return _at_hand(value) if isinstance(value, _PLAIN) else value

    def begin(
        self, name: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Coroutine[Any, Any, object]:
        """
        Begin a call of a function of the worker.

        Returns:
            A coroutine that returns or raises the result of the call.
        """
        number = next(self._numbers)
        try:
            self._wire.call(name, args, kwargs, self._limit_bytes, number)
        except Exception as problem:
            return _raising(problem)
        return self._answer(number)

    async def _answer(self, number: int) -> object:
        import asyncio

        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        return await future

    def install(self) -> None:
        """Make every new event loop wait for the calls."""
        import asyncio
        import selectors

        calls = self

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> Any:
                # Calls take no time, so they come before all timers.
                if (timeout is None or timeout > 0) and not calls.deliver():
                    calls._timers.idle(timeout)
                return super().select(0)

        class Loop(asyncio.SelectorEventLoop):
            def time(self) -> float:
                return calls._timers.now_s()

        make_task = _tasks()

        def new_event_loop() -> asyncio.AbstractEventLoop:
            loop = Loop(Selector())
            loop.set_task_factory(make_task)
            return loop

        self._timers.install()
        _take(asyncio, self.awaited)
        asyncio.new_event_loop = asyncio.events.new_event_loop = new_event_loop

    def deliver(self) -> bool:
        """Get one answer that is awaited; returns whether there was one to get."""
        self._waiting = {one: future for one, future in self._waiting.items() if not future.done()}
        if not self._waiting:
            return False
        number = min(self._waiting)
        future = self._waiting.pop(number)
        try:
            future.set_result(self._wire.ask({"type": "wait", "call": number}))
        except BaseException as problem:
            # Also the exception that ends the turn: it is raised where the code waits.
            future.set_exception(problem)
        return True


def _tasks() -> Callable[..., asyncio.Task[Any]]:
    """
    Make the class of numbered tasks.

    Their sets, such as those of ``wait`` and of task groups, have the same order in every run.
    """
    import asyncio

    numbers = itertools.count(1)

    class Task(asyncio.Task[Any]):
        def __init__(self, *args: Any, **how: Any) -> None:
            self._number = next(numbers)
            super().__init__(*args, **how)

        def __hash__(self) -> int:
            return self._number

    def make(loop: object, coroutine: object, **how: Any) -> asyncio.Task[Any]:
        return Task(coroutine, loop=loop, **how)

    return make


def _take(asyncio: Any, awaited: _Awaited) -> None:
    """Make the functions of asyncio that wait take values in place of coroutines."""
    for name, taking in _WAITING:
        setattr(asyncio, name, taking(getattr(asyncio, name), awaited))
    create: Callable[..., object] = asyncio.TaskGroup.create_task

    def create_task(group: object, one: object, **how: object) -> object:
        return create(group, awaited(one), **how)

    asyncio.TaskGroup.create_task = create_task


def _of_one(function: Callable[..., object], awaited: _Awaited) -> Callable[..., object]:
    def taking(one: object, *args: object, **how: object) -> object:
        return function(awaited(one), *args, **how)

    return taking


def _of_each(function: Callable[..., object], awaited: _Awaited) -> Callable[..., object]:
    def taking(*each: object, **how: object) -> object:
        return function(*map(awaited, each), **how)

    return taking


def _of_many(function: Callable[..., object], awaited: _Awaited) -> Callable[..., object]:
    def taking(many: Iterable[object], *args: object, **how: object) -> object:
        return function([awaited(one) for one in many], *args, **how)

    return taking


def _in_order(function: Callable[..., object], awaited: _Awaited) -> Callable[..., object]:
    def taking(many: Iterable[Any], *args: object, **how: object) -> object:
        import asyncio

        # It would begin them in the order of a set of coroutines, which is random.
        each: dict[Any, None] = dict.fromkeys(awaited(one) for one in many)
        begun = [asyncio.ensure_future(one) for one in each]
        return function(begun, *args, **how)

    return taking


_WAITING = (
    ("gather", _of_each),
    ("wait_for", _of_one),
    ("shield", _of_one),
    ("ensure_future", _of_one),
    ("create_task", _of_one),
    ("wait", _of_many),
    ("as_completed", _in_order),
)


async def _at_hand(value: object) -> object:
    return value


async def _raising(problem: Exception) -> object:
    raise problem
