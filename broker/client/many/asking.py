"""Asks for many effects: each has its own time, and its own error when there is no outcome."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from effectmq.broker.client.handle import Handle
from effectmq.broker.client.many.counting import counting
from effectmq.broker.client.many.pump import Source, pumped
from effectmq.broker.client.many.results import EffectResult, Submitted
from effectmq.broker.client.stream import Pending
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectmqError,
    MalformedError,
    TransportClosedError,
)
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["checked_in_flight", "mapped", "submitted"]

R = TypeVar("R")


def checked_in_flight(value: object) -> int:
    """
    How many effects may be under way at once.

    Raises:
        ConfigurationError: When it is no such number.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ConfigurationError(
        f"in_flight is {printable(repr(value), 60)}; expected an integer of 1 or more"
    )


def mapped(
    envelopes: Source[RuntimeEffectEnvelope],
    ask: Callable[[RuntimeEffectEnvelope], Awaitable[Pending]],
    *,
    in_flight: int,
    in_order: bool,
    progress: bool,
) -> AsyncGenerator[EffectResult]:
    """
    Ask for each effect and give what became of it; see ``Client.map``.

    Args:
        envelopes: The effects.
        ask: Submits one, and may wait for its answer.
        in_flight: How many may be taken and not handed out.
        in_order: Whether results come in the order of the effects, or as they are ready.
        progress: Whether a terminal shows how many are done.
    """

    async def one(index: int, envelope: RuntimeEffectEnvelope) -> EffectResult:
        handle = outcome = None
        try:
            pending = await ask(envelope)
            handle = pending.handle
            outcome = await pending.outcome()
            if outcome.failed:
                # Raises the failure.
                _ = outcome.value
        except TransportClosedError:
            # No later one can be answered either.
            raise
        except EffectmqError as error:
            return EffectResult(index, envelope, outcome, error, handle)
        return EffectResult(index, envelope, outcome, None, handle)

    return _counted(envelopes, one, in_flight, in_order=in_order, progress=progress)


def submitted(
    envelopes: Source[RuntimeEffectEnvelope],
    submit: Callable[[RuntimeEffectEnvelope], Awaitable[Handle]],
    *,
    in_flight: int,
    progress: bool,
) -> AsyncGenerator[Submitted]:
    """
    Submit each effect and give its handle; see ``Client.submit_many``.

    Args:
        envelopes: The effects.
        submit: Submits one.
        in_flight: How many may be taken and not handed out.
        progress: Whether a terminal shows how many are submitted.
    """

    async def one(index: int, envelope: RuntimeEffectEnvelope) -> Submitted:
        try:
            return Submitted(index, envelope, None, await submit(envelope))
        except TransportClosedError:
            raise
        except EffectmqError as error:
            return Submitted(index, envelope, error, None)

    return _counted(envelopes, one, in_flight, in_order=True, progress=progress)


def _check_envelope(index: int, envelope: object) -> None:
    """
    Refuse what is no effect at all, because then the others will not be either.

    Raises:
        MalformedError: Names the place, what was found and what was expected.
    """
    if not isinstance(envelope, RuntimeEffectEnvelope):
        kind = type(envelope).__name__
        raise MalformedError(
            f"envelopes[{index}]",
            f"found a Python {kind}, expected an envelope, as those of turn.tool_envelopes(…)",
        )


async def _counted(
    envelopes: Source[RuntimeEffectEnvelope],
    one: Callable[[int, RuntimeEffectEnvelope], Coroutine[Any, Any, R]],
    in_flight: int,
    *,
    in_order: bool,
    progress: bool,
) -> AsyncGenerator[R]:
    with counting(envelopes, asked=progress) as count:

        async def counted(index: int, envelope: RuntimeEffectEnvelope) -> R:
            result = await one(index, envelope)
            count()
            return result

        carry_out = counted if progress else one
        results = pumped(
            envelopes, carry_out, in_flight=in_flight, in_order=in_order, check=_check_envelope
        )
        async with aclosing(results):
            async for result in results:
                yield result
