"""
From the messages of a request to the messages of pydantic-ai. No I/O.

There a conversation alternates between requests (system, user, tool results) and responses (what
the model said), so neighbouring messages of one side are joined. Data that a provider needs again
(ids, signatures, encrypted reasoning) is sent back under the name of the provider that is asked.
Data of another provider is recognised by its field and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_ai.messages import (
    BinaryContent,
    CachePoint,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

from effectmq.consumers.llm.hosted.targets import REDACTED, Target
from effectmq.consumers.llm.hosted.tool_names import ToolNames
from effectmq.consumers.llm.port import ModelCallError, Prompt, unfit
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.text import printable
from effectmq.protocol.tool_calls.from_model import arguments_from_model
from effectmq.protocol.wire.llm_request import (
    LlmContentBlock,
    LlmContentBlockImage,
    LlmContentBlockReasoning,
    LlmContentBlockText,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
    LlmMessage,
    LlmRequestSpec,
)
from effectmq.protocol.wire.provider_meta import ProviderReasoningReplay, ProviderReplayMeta

__all__ = ["messages_from"]

#: The name under which pydantic-ai shows a model arguments that are no JSON object.
_NO_OBJECT = "INVALID_JSON"


def messages_from(
    prompt: Prompt, target: Target, sent_as: ToolNames | None = None
) -> list[ModelMessage]:
    """
    Translate a conversation.

    Args:
        prompt: The request, and the bytes of its attachments.
        target: The provider and model that it is for.
        sent_as: The names under which tools are sent; by default those that the provider takes.

    Raises:
        ModelCallError: When the request contradicts itself, with code ``invalid_request``.
    """
    names = _tool_names(prompt.request)
    sent_as = sent_as or ToolNames.of(prompt.request, target.family)
    found: list[ModelMessage] = []
    for number, message in enumerate(prompt.request.messages):
        if message.role == "Assistant":
            said = [
                part for block in message.blocks for part in _said(block, number, target, sent_as)
            ]
            _add_said(found, said, target)
        else:
            _add_asked(found, _asked(message, number, prompt, names, sent_as))
    if not found:
        raise unfit("the request has no messages; expected at least one")
    return found


def _add_said(found: list[ModelMessage], said: list[ModelResponsePart], target: Target) -> None:
    last = found[-1] if found else None
    if isinstance(last, ModelResponse):
        said = [*last.parts, *said]
        found.pop()
    found.append(
        ModelResponse(
            parts=said,
            provider_name=target.system,
            canonical_system=target.canonical_system,
        )
    )


def _add_asked(found: list[ModelMessage], asked: list[ModelRequestPart]) -> None:
    last = found[-1] if found else None
    if isinstance(last, ModelRequest):
        asked = [*last.parts, *asked]
        found.pop()
    found.append(ModelRequest(parts=asked))


def _tool_names(spec: LlmRequestSpec) -> dict[str, str]:
    """The names of the called tools, by the ids of their calls."""
    blocks = [block for message in spec.messages for block in message.blocks]
    return {
        block.call_id: block.tool_name
        for block in blocks
        if isinstance(block, LlmContentBlockToolCall)
    }


def _asked(
    message: LlmMessage,
    number: int,
    prompt: Prompt,
    names: Mapping[str, str],
    sent_as: ToolNames,
) -> list[ModelRequestPart]:
    parts: list[ModelRequestPart] = []
    content: list[UserContent] = []

    def flush() -> None:
        if content:
            only = content[0] if len(content) == 1 else None
            parts.append(UserPromptPart(only if isinstance(only, str) else list(content)))
            content.clear()

    for block in message.blocks:
        if isinstance(block, LlmContentBlockText) and message.role == "System":
            parts.append(SystemPromptPart(block.text))
        elif isinstance(block, LlmContentBlockText):
            content.append(block.text)
            if block.cache_breakpoint:
                content.append(CachePoint())
        elif isinstance(block, LlmContentBlockImage) and message.role == "User":
            content.append(_image(block, prompt))
        elif isinstance(block, LlmContentBlockToolResult) and message.role == "User":
            flush()
            parts.append(_tool_result(block, names, sent_as))
        else:
            raise _misplaced(block, message.role, number)
    flush()
    return parts


def _image(block: LlmContentBlockImage, prompt: Prompt) -> BinaryContent:
    attachments = prompt.request.attachments
    if block.attachment_idx >= len(attachments):
        raise unfit(
            f"an image names attachment {block.attachment_idx} and the request has "
            f"{len(attachments)}; expected an index into its attachments"
        )
    media_type = attachments[block.attachment_idx].reference.media_type
    data = prompt.attachments[block.attachment_idx]
    return BinaryContent(data, media_type=f"{media_type.kind}/{media_type.type}")


def _tool_result(
    block: LlmContentBlockToolResult, names: Mapping[str, str], sent_as: ToolNames
) -> ToolReturnPart:
    name = block.tool_name or names.get(block.call_id)
    if name is None:
        raise unfit(
            f"a tool result answers the call {printable(block.call_id, 100)!r}, which is not in "
            "the conversation, and names no tool; expected one of the two"
        )
    return ToolReturnPart(
        tool_name=sent_as.sent(name), content=block.content, tool_call_id=block.call_id
    )


def _misplaced(block: LlmContentBlock, role: str, number: int) -> ModelCallError:
    return unfit(
        f"message {number} has the role {role} and a {block.wire_name} block; expected text in "
        "System messages, text, images and tool results in User messages, and text, reasoning and "
        "tool calls in Assistant messages"
    )


def _said(
    block: LlmContentBlock, number: int, target: Target, sent_as: ToolNames
) -> Iterable[ModelResponsePart]:
    match block:
        case LlmContentBlockText():
            meta = block.response_meta
            details = {"phase": meta.phase} if meta and meta.phase else None
            yield TextPart(
                block.text,
                id=meta.id if meta else None,
                provider_name=target.system,
                provider_details=details,
            )
        case LlmContentBlockReasoning():
            yield from _reasoning(block, target)
        case LlmContentBlockToolCall():
            replay = block.replay or ProviderReplayMeta()
            yield ToolCallPart(
                tool_name=sent_as.sent(block.tool_name),
                args=_arguments(block),
                tool_call_id=block.call_id,
                id=replay.item_id,
                provider_name=target.system,
                provider_details=_details(replay.opaque, target),
            )
        case _:
            raise _misplaced(block, "Assistant", number)


def _arguments(block: LlmContentBlockToolCall) -> str | dict[str, Any]:
    """
    The arguments as the model wrote them, if they can be sent again.

    Providers take an object only; anything else is shown to the model inside an object.
    """
    try:
        found = arguments_from_model(block)
    except MalformedError:
        return {_NO_OBJECT: block.input_json}
    return block.input_json if found else "{}"


def _details(opaque: str | None, target: Target) -> dict[str, Any] | None:
    """The details that ``responses`` put there, or the signature that Gemini wants back."""
    if not opaque:
        return None
    try:
        found: object = json.loads(opaque)
    except ValueError:
        found = None
    if is_object(found):
        return found
    return {"thought_signature": opaque} if target.family == "google" else None


def _reasoning(block: LlmContentBlockReasoning, target: Target) -> Iterable[ThinkingPart]:
    replay = block.replay or ProviderReasoningReplay()
    if target.family == "openai":
        texts = replay.summary or [block.text]
        for text in texts if replay.item_id else [block.text]:
            yield ThinkingPart(
                text,
                id=replay.item_id,
                # Each piece of a summary carries the whole state; send it once.
                signature=replay.encrypted_content,
                provider_name=target.system if replay.item_id else None,
            )
        return
    signed = target.system if replay.signature else None
    if target.family == "google" and replay.signature:
        details = {"thought_signature": replay.signature}
        yield ThinkingPart(block.text, provider_name=signed, provider_details=details)
    else:
        id_ = REDACTED if replay.redacted else None
        yield ThinkingPart(
            block.text, id=id_ if signed else None, signature=replay.signature, provider_name=signed
        )
