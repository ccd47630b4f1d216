"""How to wait for an effect: the arguments that the methods of a turn have in common."""

from __future__ import annotations

from typing import Protocol, TypedDict

from effectmq.broker.client.handle import OnChunk
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["CallOptions", "Execute", "OnChunk", "StreamOptions", "ToolOptions", "WaitOptions"]


class WaitOptions(TypedDict, total=False):
    """
    For how long.

    Attributes:
        timeout: Seconds to wait for the outcome, 30 by default; None for no limit. The effect goes
            on after it.
        deadline_s: Seconds from now after which nobody wants the outcome, so that no worker begins
            with the effect any more; inside of a handler that of its own effect by default.
    """

    timeout: float | None
    deadline_s: float | None


class CallOptions(WaitOptions, total=False):
    """
    For how long, and by whom.

    Attributes:
        lane: The lane of the kind whose workers carry it out; the common one by default.
    """

    lane: str | None


class StreamOptions(CallOptions, total=False):
    """
    For how long, by whom, and what becomes of the pieces.

    Attributes:
        on_chunk: Is called with each piece that the effect streams while it runs, and may be a
            coroutine function. Nothing is streamed when the outcome was recorded before.
    """

    on_chunk: OnChunk | None


class ToolOptions(StreamOptions, total=False):
    """
    All that can be said of one call of a tool.

    Attributes:
        call_id: The call's id; the name of the tool by default.
    """

    call_id: str


class Execute(Protocol):
    """``EffectClient.execute``."""

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
