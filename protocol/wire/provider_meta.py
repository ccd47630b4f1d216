"""What a model provider wants to see again, carried along without being understood."""

from __future__ import annotations

from pydantic import Field

from effectmq.protocol.encoding.serde.model import OmitEmpty, OrAbsent, OrFalse, WireModel

__all__ = ["ProviderReasoningReplay", "ProviderReplayMeta", "ResponseTextMeta"]


class ResponseTextMeta(WireModel):
    """A provider's own marks on a piece of response text."""

    id: OrAbsent[str] = None
    status: OrAbsent[str] = None
    phase: OrAbsent[str] = None


class ProviderReplayMeta(WireModel):
    """
    A provider's own marks on a tool call.

    Attributes:
        opaque: Provider data that only that provider reads.
    """

    item_id: OrAbsent[str] = None
    opaque: OrAbsent[str] = None


class ProviderReasoningReplay(WireModel):
    """
    A provider's own marks on reasoning, needed to send the reasoning back.

    Attributes:
        redacted: The provider hid the text.
    """

    item_id: OrAbsent[str] = None
    encrypted_content: OrAbsent[str] = None
    signature: OrAbsent[str] = None
    redacted: OrFalse = False
    summary: OmitEmpty[list[str]] = Field(default_factory=list)
