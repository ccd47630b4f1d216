"""How to wait for an effect: the arguments that the methods of a turn share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol, TypedDict

from effectmq.broker.client.handle import OnChunk, OnProgress
from effectmq.broker.client.stream import Stream
from effectmq.broker.place import refuse_unknown
from effectmq.protocol.messages.chosen.priority import Priority
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = [
    "CallOptions",
    "Execute",
    "LaterOptions",
    "MapOptions",
    "OnChunk",
    "OnProgress",
    "OpenStream",
    "StreamOptions",
    "ToolOptions",
    "WaitOptions",
]


def check_options(method: str, options: WaitOptions, known: Any) -> None:
    """
    Refuse what is misspelt, before a number is taken.

    Raises:
        TypeError: As Python raises it of any function.
    """
    refuse_unknown(f"turn.{method}", options, known.__optional_keys__)


class WaitOptions(TypedDict, total=False):
    """
    How long to wait, and who goes first.

    Attributes:
        timeout: Seconds to wait for the outcome, 30 by default; ``None`` for no limit. The effect
            goes on after it.
        deadline_s: Seconds from now after which the outcome is not wanted, so that no worker begins
            the effect; inside a handler that of its own effect by default.
        priority: ``"high"``, ``"normal"`` or ``"low"``: which of those that wait is taken first; by
            default that of the turn.
    """

    timeout: float | None
    deadline_s: float | None
    priority: Priority | None


class CallOptions(WaitOptions, total=False):
    """
    How long to wait, and which workers carry it out.

    Attributes:
        lane: The lane of the kind whose workers carry it out; the common one by default.
    """

    lane: str | None


class LaterOptions(CallOptions, total=False):
    """
    How long to wait, which workers carry it out, and when they may begin.

    Attributes:
        delay_s: Seconds from now before which no worker begins it; ``timeout`` counts them, too.
        not_before: Instead of it the moment, with its time zone.
        debounce: A key: of the effects with it that are asked for within the delay of the one
            before, only the last runs; the others fail with ``effectmq_superseded``.
        debounce_max_s: For how long that may go on, in seconds from the first of them; by default
            ten times the delay.
    """

    delay_s: float | None
    not_before: datetime | None
    debounce: str | None
    debounce_max_s: float | None


class StreamOptions(LaterOptions, total=False):
    """
    How long to wait, who carries it out and when, and what gets the pieces.

    Attributes:
        on_chunk: Called with each piece that the effect streams while it runs; may be a coroutine
            function. A recorded outcome has no pieces.
        on_progress: Called when the effect says how far it is; may be a coroutine function, too.
    """

    on_chunk: OnChunk | None
    on_progress: OnProgress | None


class ToolOptions(StreamOptions, total=False):
    """
    All options of one call of a tool.

    Attributes:
        call_id: The call's id; the name of the tool by default.
        number: A number of your own instead of the turn's next one.
    """

    call_id: str
    number: int | None


class MapOptions(StreamOptions, total=False):
    """
    All that can be said of many calls of a tool.

    ``timeout`` and ``deadline_s`` are those of each call and begin when it is submitted.

    Attributes:
        in_flight: How many calls are under way at once, 100 by default; None for all.
        call_ids: The ids of the calls, one for each item; ``tool-1``, ``tool-2``, … by default.
        number: A number of your own instead of the turn's next one.
    """

    in_flight: int | None
    call_ids: Iterable[str] | None
    number: int | None


class Execute(Protocol):
    """The type of ``EffectClient.execute``."""

    async def __call__(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = ...,
        lane: str | None = ...,
        deadline_s: float | None = ...,
        delay_s: float | None = ...,
        not_before: datetime | None = ...,
        debounce: str | None = ...,
        debounce_max_s: float | None = ...,
        on_chunk: OnChunk | None = ...,
        on_progress: OnProgress | None = ...,
        priority: Priority | None = ...,
    ) -> RuntimeEffectOutcome:
        """Submit an envelope and wait for its outcome."""
        ...


class OpenStream(Protocol):
    """``EffectClient.stream``."""

    def __call__(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = ...,
        lane: str | None = ...,
        deadline_s: float | None = ...,
        priority: Priority | None = ...,
    ) -> Stream[RuntimeEffectOutcome]:
        """Read what an effect streams."""
        ...
