"""Requests to ask models with, and providers to ask."""

from __future__ import annotations

from typing import Any

from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.port import Prompt
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.llm_request import (
    LlmAttachmentSpec,
    LlmContentBlock,
    LlmContentBlockText,
    LlmMessage,
    LlmRequestSpec,
    LlmRole,
    LlmToolSpec,
)

__all__ = ["KEY", "LOOKUP", "attachment", "hosted", "message", "prompt", "spec", "text"]

#: A key that must never be seen again.
KEY = "sk-test-0123456789abcdefSECRET"

LOOKUP = LlmToolSpec(
    name="lookup",
    description="Look it up.",
    input_schema={"type": "object", "properties": {"word": {"type": "string"}}},
    output_schema={},
    input_schema_projections=[],
    output_schema_projections=[],
)


def text(value: str, **more: Any) -> LlmContentBlockText:
    """A block of text."""
    return LlmContentBlockText(text=value, **{"cache_breakpoint": False, **more})


def message(role: LlmRole, *blocks: LlmContentBlock | str) -> LlmMessage:
    """A message; plain text becomes a block."""
    return LlmMessage(
        role=role, blocks=[text(block) if isinstance(block, str) else block for block in blocks]
    )


def spec(*messages: LlmMessage | str, **more: Any) -> LlmRequestSpec:
    """A request; plain text is what the user says."""
    return LlmRequestSpec(
        messages=[message("User", one) if isinstance(one, str) else one for one in messages],
        **{"model": "fast", "attachments": [], "tools": [], "tool_choice": "Auto", **more},
    )


def prompt(*messages: LlmMessage | str, data: tuple[bytes, ...] = (), **more: Any) -> Prompt:
    """A prompt of a first attempt."""
    return Prompt(spec(*messages, **more), data)


def attachment(id_: str = "a" * 64, type_: Any = "png") -> LlmAttachmentSpec:
    """An image by reference."""
    return LlmAttachmentSpec(
        reference=AttachmentRef(id=id_, media_type=MediaTypeImage(type=type_), byte_len=4)
    )


def hosted(provider: Any, base_url: str, **more: Any) -> ModelSettings:
    """A row for a provider that listens here."""
    return ModelSettings(
        provider=provider,
        base_url=base_url,
        **{"model": "m-1", "api_key_env": "TEST_KEY", **more},
    )
