"""One tool for many items: what each gave, in the order of the items."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from effectmq.broker.client.turns.tool_calls.batch import ToolCall
from effectmq.broker.client.turns.tool_calls.functions import arguments_of, tool_of
from effectmq.protocol.errors import ConfigurationError, EffectmqError
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall

__all__ = ["MapResult", "calls_of", "checked_in_flight", "many_arguments", "map_result"]

R = TypeVar("R", covariant=True)
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class MapResult(Generic[R]):
    """
    What became of one item of ``Turn.map``, or of one call of ``Turn.tool_calls``.

    It is asked like an outcome.

    Attributes:
        call_id: The id of its call.
        outcome: Its outcome, a failure perhaps; ``None`` when none came.
        error: Why there is no value: the failure as an error, or the error that came instead of an
            outcome (a timeout, a cancelled effect, a broker that is away). ``None`` with a value.
    """

    call_id: str
    outcome: RuntimeEffectOutcomeToolCall | None
    error: EffectmqError | None
    _value: R

    @property
    def failed(self) -> bool:
        """Whether there is no value, so that ``value`` raises."""
        return self.error is not None

    @property
    def value(self) -> R:
        """
        What the tool gave.

        Raises:
            EffectmqError: The item's own ``error``, when there is no value.
        """
        if self.error is not None:
            raise self.error
        return self._value

    def value_or(self, default: D) -> R | D:
        """What the tool gave, or the default when there is no value."""
        return default if self.failed else self._value


def calls_of(
    tool_name: str, arguments: Sequence[Mapping[str, Any]], call_ids: Iterable[str] | None
) -> list[ToolCall]:
    """
    The calls of one tool, with the ids given or ``tool-1``, ``tool-2``, … by the order of items.

    Raises:
        ConfigurationError: When there is not one id for each item.
    """
    if call_ids is None:
        ids = [f"{tool_name}-{number}" for number in range(1, len(arguments) + 1)]
    else:
        ids = list(call_ids)
    if len(ids) != len(arguments):
        raise ConfigurationError(
            f"found {len(ids)} call_ids for {len(arguments)} items; expected one for each"
        )
    return [ToolCall(tool_name, args, id_) for args, id_ in zip(arguments, ids, strict=True)]


def checked_in_flight(value: object) -> int | None:
    """
    How many calls may be under way at once; ``None`` for all.

    Raises:
        ConfigurationError: When it is no such number.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ConfigurationError(
        f"in_flight is {printable(repr(value), 60)}; expected an integer of 1 or more, or None for "
        "all at once"
    )


def many_arguments(
    tool: str | Callable[..., Any], items: Iterable[Any], more: Sequence[Iterable[Any]]
) -> tuple[str, list[Mapping[str, Any]], str | None, Callable[[Any], Any]]:
    """
    A tool's name, the arguments of each call, its lane, and what reads its values.

    Raises:
        ConfigurationError: When it is no tool of this program.
        MalformedError: When an argument has no JSON form.
        TypeError: When arguments do not fit the function, or a name comes with several of them.
        ValueError: When there are not equally many of each.
    """
    if isinstance(tool, str):
        if more:
            raise TypeError("turn.map takes the arguments of a tool by name as one dict for each")
        return tool, list(items), None, lambda value: value
    known = tool_of(tool)
    arguments = [arguments_of(known, tool, args, {}) for args in zip(items, *more, strict=True)]
    return known.name, [*arguments], known.lane or None, known.reader()


async def map_result(
    envelope: RuntimeEffectEnvelope,
    running: Awaitable[RuntimeEffectOutcomeToolCall],
    read: Callable[[Any], Any],
) -> MapResult[Any]:
    """What became of one item; an error of effectmq is its own, any other is the caller's."""
    assert isinstance(envelope.command, RuntimeEffectCommandToolCall)
    call_id = envelope.command.call.call_id
    outcome = None
    try:
        outcome = await running
        return MapResult(call_id, outcome, None, read(outcome.value))
    except EffectmqError as error:
        return MapResult(call_id, outcome, error, None)
