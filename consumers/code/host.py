"""
What one block can use: tools, sleep, a clock, images, and the way to end the turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NoReturn

from effectmq.consumers.code.calls import CodeCalls
from effectmq.consumers.code.data.images import Images
from effectmq.consumers.code.data.values import CodeError, UnsendableError, to_json
from effectmq.consumers.code.engine import Later
from effectmq.consumers.code.functions import FINISH, SHOW_IMAGE, Function
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.wire.tool_value import encode_tool_value
from effectmq.protocol.wire.tools import ToolCallOutput, ToolControlFail, ToolControlFinish

__all__ = ["BlockHost"]

_OWN = {
    FINISH: Function(FINISH, FINISH, ("value",)),
    SHOW_IMAGE: Function(SHOW_IMAGE, SHOW_IMAGE, ("image", "label")),
}


class BlockHost:
    """
    The host of one block.

    Args:
        functions: The tools that the code may call, by their names in it.
        calls: Carries out its calls.
        images: Keeps the images that it shows.
        started_ms: Returns when the block was started for the first time, Unix milliseconds.
        settings: The limits.

    Attributes:
        finished: Whether the code ended the turn.
        result: The value of that end, as JSON.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        calls: CodeCalls,
        images: Images,
        started_ms: Callable[[], Awaitable[int]],
        settings: CodeSettings,
    ) -> None:
        self.finished = False
        self.result: object = None
        self._functions = functions
        self._calls = calls
        self._images = images
        self._find_start = started_ms
        self._start_ms = 0
        self._slept_ms = 0
        self._settings = settings

    def knows(self, name: str) -> bool:
        """Whether it is a tool, or a function of every block; see the port."""
        return name in self._functions or name in _OWN

    def names(self) -> frozenset[str]:
        """All names that ``knows`` knows; see the port."""
        return frozenset(self._functions) | frozenset(_OWN)

    async def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Call a function; see the port."""
        if self.finished:
            # The code caught the exception that should have ended it.
            raise _end()
        function = self._functions.get(name)
        if function is not None:
            value, output = await self._calls.call(function, args, kwargs)
            self._obey(function, output)
            return value
        given = _bound(_OWN[name], args, kwargs)
        if name == FINISH:
            self._finish(given.get("value"))
        await self._images.show(given.get("image"), given.get("label", ""))
        return None

    def begin(
        self, name: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Awaitable[object]:
        """Begin a call that is awaited later; see the port."""
        function = self._functions.get(name)
        if function is None or self.finished:
            return Later(partial(self.call, name, args, kwargs))
        begun = self._calls.begin(function, args, kwargs)
        return Later(partial(self._waited_for, function, begun))

    async def _waited_for(
        self, function: Function, begun: Awaitable[tuple[object, ToolCallOutput]]
    ) -> object:
        # It acts on the turn when it is awaited, not when it is ready, which may be at any time.
        value, output = await begun
        self._obey(function, output)
        return value

    async def sleep(self, duration_s: float) -> None:
        """Sleep, and move the clock by the same time; see the port."""
        self._slept_ms += await self._calls.sleep(duration_s)

    async def now_ms(self) -> int:
        """The first start of the block plus its sleeps so far; see the port."""
        if not self._start_ms:
            self._start_ms = await self._find_start()
        return self._start_ms + self._slept_ms

    def _finish(self, value: object) -> NoReturn:
        try:
            result = to_json(value, self._settings.argument_bytes)
        except UnsendableError as problem:
            raise CodeError("TypeError", f"finish() cannot send this: {problem}") from None
        self._end_with(result)

    def _obey(self, function: Function, output: ToolCallOutput) -> None:
        """Do what the output of a tool asks for the turn."""
        control = output.control
        if isinstance(control, ToolControlFinish):
            self._end_with(encode_tool_value(control.value))
        if isinstance(control, ToolControlFail):
            failure = control.failure
            raise CodeError(
                "RuntimeError", f"{function.name} failed ({failure.code}): {failure.message}"
            )

    def _end_with(self, result: object) -> NoReturn:
        self.finished, self.result = True, result
        raise _end()


def _end() -> CodeError:
    return CodeError("SystemExit", "finished")


def _bound(
    function: Function, args: tuple[object, ...], kwargs: dict[str, object]
) -> dict[str, object]:
    bound = function.bind(args, kwargs)
    unknown = next((name for name in bound if name not in function.parameters), None)
    if unknown is not None:
        raise CodeError(
            "TypeError", f"{function.name}() got an unexpected keyword argument '{unknown}'"
        )
    return bound
