"""Data of a model provider that must be sent back, and that nobody else reads."""

from __future__ import annotations

from pydantic import Field

from effectmq.protocol.encoding.serde.model import OmitEmpty, OrAbsent, OrFalse, WireModel

__all__ = ["ProviderReasoningReplay", "ProviderReplayMeta", "ResponseTextMeta"]


class ResponseTextMeta(WireModel):
    """The provider's data about a piece of response text."""

    id: OrAbsent[str] = None
    status: OrAbsent[str] = None
    phase: OrAbsent[str] = None


class ProviderReplayMeta(WireModel):
    """
    The provider's data about a tool call.

    Attributes:
        opaque: Data that only this provider reads.
    """

    item_id: OrAbsent[str] = None
    opaque: OrAbsent[str] = None


class ProviderReasoningReplay(WireModel):
    """
    The provider's data about reasoning, needed to send the reasoning back.

    Attributes:
        redacted: Whether the provider hid the text.
    """

    item_id: OrAbsent[str] = None
    encrypted_content: OrAbsent[str] = None
    signature: OrAbsent[str] = None
    redacted: OrFalse = False
    summary: OmitEmpty[list[str]] = Field(default_factory=list)
