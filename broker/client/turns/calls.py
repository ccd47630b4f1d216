"""Calls of tools by their functions, for their values."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, Required, TypeVar, cast, overload

from effectmq.broker.client.stream import Stream
from effectmq.broker.client.turns.executing import Running
from effectmq.broker.client.turns.functions import arguments_of, tool_of
from effectmq.broker.client.turns.options import CallOptions, ToolOptions
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall

if TYPE_CHECKING:
    from effectmq.broker.client.turns.tools import ToolCalls

__all__ = ["Calls"]


class _Streamed(CallOptions, total=False):
    call_id: Required[str]
    number: int | None


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Calls:
    """
    Calls of tools by their functions, with options; made by ``Turn.with_options``.

    Attributes:
        turn: The turn of the effects.
        options: The options of the calls.
    """

    turn: ToolCalls
    options: ToolOptions

    @overload
    def call(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Running[R]: ...
    @overload
    def call(self, tool: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Running[R]: ...
    def call(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Running[Any]:
        """Call a tool by its function; see ``Turn.call``."""
        name, arguments, options, read = self._made(tool, args, kwargs)
        return _value(self.turn.tool_call(name, arguments, **options), read)

    @overload
    def stream(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Stream[R]: ...
    @overload
    def stream(self, tool: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Stream[R]: ...
    def stream(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Stream[Any]:
        """
        Call a tool by its function and read what it streams; ``result()`` is its value.

        Raises:
            ConfigurationError: When the options have ``on_chunk``, which is another way to read.
        """
        name, arguments, options, read = self._made(tool, args, kwargs)
        if options.pop("on_chunk", None) is not None:
            raise ConfigurationError("a stream is read with 'async for'; leave on_chunk= out")
        made = self.turn.stream.tool_call(name, arguments, **cast("_Streamed", options))
        return made.read_as(lambda outcome: read(outcome.value))

    def _made(
        self, tool: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[str, dict[str, Any], ToolOptions, Callable[[object], Any]]:
        known = tool_of(tool)
        read = known.reader()
        arguments = arguments_of(known, tool, args, kwargs)
        options: ToolOptions = {"call_id": known.name, "lane": known.lane or None, **self.options}
        return known.name, arguments, options, read


async def _value(
    called: Running[RuntimeEffectOutcomeToolCall], read: Callable[[object], Any]
) -> Any:
    return read((await called).value)
