"""Calls of tools that are made together: one number of the turn, and an id for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.exact.effects import prepared_tool_call, tool_call_envelope
from effectmq.protocol.identity import invocations
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeInvocation
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = [
    "ToolCall",
    "check_type",
    "envelope_of",
    "envelopes_of",
    "prepared_batch",
    "side_by_side",
]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    One call of a batch.

    Attributes:
        tool_name: The tool.
        args: Its arguments by name.
        call_id: The call's id, given by the model; unique in the batch.
    """

    tool_name: str
    args: Mapping[str, Any]
    call_id: str

    def prepared(self) -> PreparedToolCall:
        """
        The call in the form of an envelope.

        Raises:
            MalformedError: When the arguments, the name or the id cannot be sent.
        """
        if not isinstance(self.args, dict):
            check_type(self.args, Mapping, "args", "a dict of arguments by name")
        return prepared_tool_call(self.call_id, self.tool_name, dict(self.args))


def prepared_batch(calls: Iterable[ToolCall]) -> list[PreparedToolCall]:
    """
    The calls of a batch as envelopes carry them.

    Raises:
        ConfigurationError: When two of them have one id, for they would be one effect.
        MalformedError: When one of them cannot be sent.
    """
    prepared = [call.prepared() for call in calls]
    ids = set[str]()
    for call in prepared:
        if call.call_id in ids:
            raise ConfigurationError(
                f"two calls of a batch have the id {printable(call.call_id, 100)!r}; give each its "
                "own"
            )
        ids.add(call.call_id)
    return prepared


def envelope_of(batch: RuntimeInvocation, call: PreparedToolCall) -> RuntimeEffectEnvelope:
    """The envelope of one call of a batch."""
    (envelope,) = envelopes_of(batch, [call])
    return envelope


def envelopes_of(
    batch: RuntimeInvocation, calls: Sequence[PreparedToolCall]
) -> list[RuntimeEffectEnvelope]:
    """The envelopes of the calls of a batch."""
    invoked = invocations.tool_calls(batch, [call.call_id for call in calls])
    return [tool_call_envelope(one, call) for one, call in zip(invoked, calls, strict=True)]


def check_type(value: object, kind: type[object], name: str, expected: str) -> None:
    """
    Refuse an argument of another type.

    Raises:
        MalformedError: Names what was found and what was expected.
    """
    if not isinstance(value, kind):
        raise MalformedError(name, f"found a Python {type(value).__name__}, expected {expected}")


async def side_by_side(
    items: Sequence[T], carry_out: Callable[[T], Awaitable[R]], *, in_flight: int | None = None
) -> list[R]:
    """
    What becomes of each item, in their order; the first error ends all.

    Args:
        items: What to carry out.
        carry_out: Carries one of them out.
        in_flight: How many at a time; all when not given.
    """
    found: dict[int, R] = {}
    waiting = iter(enumerate(items))

    async def run() -> None:
        for place, item in waiting:
            found[place] = await carry_out(item)

    many = len(items) if in_flight is None else min(in_flight, len(items))
    tasks = [asyncio.ensure_future(run()) for _ in range(many)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return [found[place] for place in range(len(items))]
