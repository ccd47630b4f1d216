"""How to wait for an effect: the arguments that the methods of a turn share."""

from __future__ import annotations

from typing import Protocol, TypedDict

from effectmq.broker.client.handle import OnChunk
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["CallOptions", "Execute", "OnChunk", "StreamOptions", "ToolOptions", "WaitOptions"]


class WaitOptions(TypedDict, total=False):
    """
    How long to wait.

    Attributes:
        timeout: Seconds to wait for the outcome, 30 by default; ``None`` for no limit. The effect
            goes on after it.
        deadline_s: Seconds from now after which the outcome is not wanted, so that no worker begins
            the effect; inside a handler that of its own effect by default.
    """

    timeout: float | None
    deadline_s: float | None


class CallOptions(WaitOptions, total=False):
    """
    How long to wait, and which workers carry it out.

    Attributes:
        lane: The lane of the kind whose workers carry it out; the common one by default.
    """

    lane: str | None


class StreamOptions(CallOptions, total=False):
    """
    How long to wait, which workers carry it out, and what gets the pieces.

    Attributes:
        on_chunk: Called with each piece that the effect streams while it runs; may be a coroutine
            function. A recorded outcome has no pieces.
    """

    on_chunk: OnChunk | None


class ToolOptions(StreamOptions, total=False):
    """
    All options of one call of a tool.

    Attributes:
        call_id: The call's id; the name of the tool by default.
    """

    call_id: str


class Execute(Protocol):
    """The type of ``EffectClient.execute``."""

    async def __call__(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = ...,
        lane: str | None = ...,
        deadline_s: float | None = ...,
        on_chunk: OnChunk | None = ...,
    ) -> RuntimeEffectOutcome:
        """Submit an envelope and wait for its outcome."""
        ...
