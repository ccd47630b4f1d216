"""The calls of tools of a turn: by name, by function, for many items, and as a model asks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, Unpack, cast, overload

from effectmq.broker.client.stream import Stream
from effectmq.broker.client.turns.envelopes import TurnEnvelopes
from effectmq.broker.client.turns.executing import Running, execute_as
from effectmq.broker.client.turns.options import (
    CallOptions,
    Execute,
    MapOptions,
    OpenStream,
    StreamOptions,
    ToolOptions,
    WaitOptions,
    check_options,
)
from effectmq.broker.client.turns.streams import Streams
from effectmq.broker.client.turns.tool_calls.batch import (
    ToolCall,
    check_type,
    envelope_of,
    side_by_side,
)
from effectmq.broker.client.turns.tool_calls.functions import named_call
from effectmq.broker.client.turns.tool_calls.mapping import (
    MapResult,
    calls_of,
    checked_in_flight,
    many_arguments,
    map_result,
)
from effectmq.protocol.errors import (
    ConfigurationError,
    MalformedError,
    PayloadTooLargeError,
)
from effectmq.protocol.tool_calls.from_model import ModelToolCall, calls_from_model, too_much
from effectmq.protocol.wire.envelope import (
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
)
from effectmq.protocol.wire.llm_request import LlmToolSpec
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeToolCall,
)
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = ["Calls", "ToolCalls"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")

_MOST_IN_FLIGHT = 100


class ToolCalls(TurnEnvelopes):
    """
    Calls tools as effects of one turn.

    Its methods are not coroutine functions but return coroutines: the call takes the number.
    """

    def __init__(
        self,
        execute: Execute,
        session_id: str,
        turn_id: str,
        turn_index: int = 0,
        protocol_iteration: int = 0,
        *,
        stream: OpenStream | None = None,
    ) -> None:
        super().__init__(session_id, turn_id, turn_index, protocol_iteration)
        self._execute = execute
        self._open_stream = stream
        #: The ids of all branches, shared by them: a name may have a slash in it.
        self._branches = set[str]()

    def tool_call(
        self,
        tool_name: str,
        args: Mapping[str, Any],
        *,
        call_id: str,
        number: int | None = None,
        **options: Unpack[StreamOptions],
    ) -> Running[RuntimeEffectOutcomeToolCall]:
        """
        Call one tool; see ``Client.execute`` for the errors.

        Args:
            tool_name: The tool.
            args: Its arguments by name.
            call_id: The call's id, given by the model.
            number: A number of your own instead of the next; calls of one number are one batch.
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``, ``on_progress``: see
                ``StreamOptions``.
        """
        check_options("tool_call", options, StreamOptions)
        (envelope,) = self.tool_envelopes([ToolCall(tool_name, args, call_id)], number=number)
        return execute_as(self._execute, RuntimeEffectOutcomeToolCall, envelope, options)

    @overload
    def call(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Running[R]: ...
    @overload
    def call(self, tool: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Running[R]: ...
    def call(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Running[Any]:
        """
        Call a tool by its function, which is registered in this program; returns its value.

        Its name and lane are those of the registration; arguments and result have the types of its
        signature. ``with_options`` sets how long to wait.

        Args:
            tool: The decorated function; the worker may run in another program.
            args: The positional arguments.
            kwargs: The keyword arguments.

        Raises:
            OutcomeFailedError: When the tool failed.
            MalformedError: When an argument has no JSON form, or the value is not of the function's
                return type.
            ConfigurationError: When it is not a tool, or its return type has a special form as a
                value (an attachment for instance).
            TypeError: When the arguments do not fit the signature.
        """
        return self.with_options().call(tool, *args, **kwargs)

    def with_options(self, **options: Unpack[ToolOptions]) -> Calls:
        """
        Set the options of the next ``call``: ``turn.with_options(timeout=90).call(add, a=1, b=2)``.

        Args:
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``, ``on_progress``,
                ``call_id``, ``number``: see ``ToolOptions``.
        """
        check_options("with_options", options, ToolOptions)
        return Calls(self, options)

    @overload
    def map(
        self, tool: str, items: Iterable[Mapping[str, Any]], /, **options: Unpack[MapOptions]
    ) -> Running[list[MapResult[Any]]]: ...
    @overload
    def map(
        self,
        tool: Callable[[A], Coroutine[Any, Any, R]],
        items: Iterable[A],
        /,
        **options: Unpack[MapOptions],
    ) -> Running[list[MapResult[R]]]: ...
    @overload
    def map(
        self, tool: Callable[[A], R], items: Iterable[A], /, **options: Unpack[MapOptions]
    ) -> Running[list[MapResult[R]]]: ...
    @overload
    def map(
        self,
        tool: Callable[[A, B], Coroutine[Any, Any, R]],
        items: Iterable[A],
        more: Iterable[B],
        /,
        **options: Unpack[MapOptions],
    ) -> Running[list[MapResult[R]]]: ...
    @overload
    def map(
        self,
        tool: Callable[[A, B], R],
        items: Iterable[A],
        more: Iterable[B],
        /,
        **options: Unpack[MapOptions],
    ) -> Running[list[MapResult[R]]]: ...
    def map(
        self,
        tool: str | Callable[..., Any],
        items: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> Running[list[MapResult[Any]]]:
        """
        Call one tool for many items, side by side, as one batch; the keys go by the items' order.

        Args:
            tool: The name of a tool, or its function as for ``call``.
            items: With a name, the arguments of each call by their names. With a function, its one
                argument for each call.
            more: With a function of several arguments, the others, as Python's ``map`` takes them.
            options: ``in_flight``, ``call_ids``, ``number``, and those of ``tool_call``: see
                ``MapOptions``.

        Returns:
            What became of each item, in their order. An item that fails, times out or is cancelled
            fails alone: its result has the ``error`` and raises it as its ``value``.

        Raises:
            MalformedError: When the arguments of an item cannot be sent. This and what follows is
                raised by the call itself, before anything is asked.
            ConfigurationError: When it is no tool, an option cannot be used, or two ids are equal.
            TypeError: When arguments do not fit the function.
            ValueError: When ``items`` and ``more`` are not equally many.
        """
        check_options("map", options, MapOptions)
        in_flight = checked_in_flight(options.pop("in_flight", _MOST_IN_FLIGHT))
        call_ids, number = options.pop("call_ids", None), options.pop("number", None)
        name, arguments, lane, read = many_arguments(tool, items, more)
        envelopes = self.tool_envelopes(calls_of(name, arguments, call_ids), number=number)
        how = cast("StreamOptions", {"lane": lane, **options})
        return self._each(envelopes, how, read, in_flight)

    def tool_calls(
        self,
        calls: Iterable[ToolCall],
        *,
        in_flight: int | None = _MOST_IN_FLIGHT,
        number: int | None = None,
        **options: Unpack[StreamOptions],
    ) -> Running[list[MapResult[Any]]]:
        """
        Call several tools, side by side, as one batch.

        Args:
            calls: The calls; each has an id of its own.
            in_flight: How many are under way at once; ``None`` for all.
            number: A number of your own for the batch, instead of the turn's next one.
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``, ``on_progress``, of each
                call: see ``StreamOptions``.

        Returns:
            What became of each call, in their order, as ``map`` has it: one that fails, times out
            or is cancelled fails alone.

        Raises:
            MalformedError: When one of them is no call, or cannot be sent. This and what follows is
                raised by the call itself, before anything is asked.
            ConfigurationError: When an option cannot be used, or two ids are equal.
        """
        check_options("tool_calls", options, StreamOptions)
        in_flight = checked_in_flight(in_flight)
        batch = list(calls)
        for place, call in enumerate(batch):
            check_type(call, ToolCall, f"calls[{place}]", "a ToolCall")
        return self._each(self.tool_envelopes(batch, number=number), options, _as_it_is, in_flight)

    def _each(
        self,
        envelopes: Sequence[RuntimeEffectEnvelope],
        how: StreamOptions,
        read: Callable[[Any], Any],
        in_flight: int | None,
    ) -> Running[list[MapResult[Any]]]:
        async def one(envelope: RuntimeEffectEnvelope) -> MapResult[Any]:
            expected = RuntimeEffectOutcomeToolCall
            return await map_result(
                envelope, execute_as(self._execute, expected, envelope, how.copy()), read
            )

        return side_by_side(envelopes, one, in_flight=in_flight)

    def tool_call_from_model(
        self,
        part: ModelToolCall,
        *,
        tools: Iterable[LlmToolSpec] | None = None,
        lane: str | None = None,
        number: int | None = None,
        **options: Unpack[WaitOptions],
    ) -> Running[RuntimeEffectOutcomeToolCall]:
        """
        Call the tool that a model asks for, whatever arguments it wrote.

        Text that is not an object of arguments, arguments that are too large, and a tool that was
        not offered are outcomes with a failure that the model can read, like those of a tool; no
        worker is asked then.

        Args:
            part: The call from the response of the model.
            tools: The tools that were offered; ``None`` leaves this check to the worker.
            lane: The lane of the tool, when it has one.
            number: A number of your own instead of the turn's next one.
            options: ``timeout`` and ``deadline_s``: see ``WaitOptions``.

        Raises:
            ConfigurationError: When it is not a call of a model, or these are not tools.
        """
        lanes = {part.tool_name: lane} if lane else None
        return _only(
            self.tool_calls_from_model([part], tools=tools, lanes=lanes, number=number, **options)
        )

    def tool_calls_from_model(
        self,
        parts: Sequence[ModelToolCall],
        *,
        tools: Iterable[LlmToolSpec] | None = None,
        lanes: Mapping[str, str] | None = None,
        number: int | None = None,
        **options: Unpack[WaitOptions],
    ) -> Coroutine[Any, Any, list[RuntimeEffectOutcomeToolCall]]:
        """
        Call all tools that one answer of a model asks for, in parallel, as one batch.

        Args:
            parts: The calls from the response of the model.
            tools: The tools that were offered; ``None`` leaves this check to the worker.
            lanes: The lanes of the tools that have one, by name.
            number: A number of your own for the batch, instead of the turn's next one.
            options: ``timeout`` and ``deadline_s``: see ``WaitOptions``.

        Returns:
            The outcomes in the order of the calls; see ``tool_call_from_model``.

        Raises:
            ConfigurationError: When these are not calls of a model, or not tools.
            MalformedError: When these are not lanes.
        """
        check_options("tool_calls_from_model", options, WaitOptions)
        check_type(lanes or {}, Mapping, "lanes", "a dict of lanes by the names of their tools")
        calls = calls_from_model(parts, tools)
        # Taken in any case, so that the numbers after it are always the same.
        batch = self.invocation("tool_call", number=number) if calls else None
        return self._side_by_side(batch, calls, lanes or {}, options)

    async def _side_by_side(
        self,
        batch: RuntimeInvocation | None,
        calls: Sequence[PreparedToolCall | RuntimeEffectOutcomeToolCall],
        lanes: Mapping[str, str],
        options: WaitOptions,
    ) -> list[RuntimeEffectOutcomeToolCall]:
        async def carried_out(
            call: PreparedToolCall | RuntimeEffectOutcomeToolCall,
        ) -> RuntimeEffectOutcomeToolCall:
            if isinstance(call, RuntimeEffectOutcomeToolCall):
                return call
            assert batch is not None
            envelope = envelope_of(batch, call)
            how: CallOptions = {**options, "lane": lanes.get(call.tool_name)}
            try:
                return await execute_as(self._execute, RuntimeEffectOutcomeToolCall, envelope, how)
            except (MalformedError, PayloadTooLargeError) as problem:
                failed = too_much(call, problem)
                if failed is None:
                    raise
                return failed

        return await side_by_side(calls, carried_out)

    # Streams -------------------------------------------------------------------------------------

    @property
    def stream(self) -> Streams:
        """
        The same calls read piece by piece: ``async for chunk in turn.stream.llm_call(request)``.

        Raises:
            ConfigurationError: When the turn was not made by ``Client.turn``.
        """
        if self._open_stream is None:
            raise ConfigurationError("this turn has no client to stream from; use Client.turn")
        return Streams(self, self._open_stream)


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
        known, arguments, read = named_call(tool, args, kwargs)
        options: ToolOptions = {"call_id": known.name, "lane": known.lane or None, **self.options}
        return _value(self.turn.tool_call(known.name, arguments, **options), read)

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
            ConfigurationError: When the options have ``on_chunk`` or ``on_progress``, which are
                another way to read.
        """
        return self.turn.stream.call_with(self.options, tool, args, kwargs)


def _as_it_is(value: Any) -> Any:
    return value


async def _value(
    called: Running[RuntimeEffectOutcomeToolCall], read: Callable[[object], Any]
) -> Any:
    return read((await called).value)


async def _only(
    outcomes: Coroutine[Any, Any, list[RuntimeEffectOutcomeToolCall]],
) -> RuntimeEffectOutcomeToolCall:
    (outcome,) = await outcomes
    return outcome
