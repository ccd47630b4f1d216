"""
From a request on the wire to what pydantic-ai sends: messages, settings, parameters. No I/O.

A conversation alternates there between requests (system, user, tool results) and responses (what
the model said), so neighbouring messages of one side become one. What a provider wants to see again
(ids, signatures, encrypted reasoning) goes back under the name of the provider that is asked; what
another provider made is recognised by its field and left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

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
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings as ClientSettings
from pydantic_ai.settings import ThinkingLevel
from pydantic_ai.tools import ToolDefinition

from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.port import Prompt, unfit
from effectmq.protocol.text import printable
from effectmq.protocol.wire.llm_request import (
    LlmContentBlock,
    LlmContentBlockImage,
    LlmContentBlockReasoning,
    LlmContentBlockText,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
    LlmMessage,
    LlmOutputSpecJsonSchema,
    LlmRequestSpec,
    LlmToolSpec,
)
from effectmq.protocol.wire.provider_meta import ProviderReasoningReplay, ProviderReplayMeta

__all__ = ["REDACTED", "Question", "Target", "question_from"]

Family = Literal["openai", "anthropic", "google"]

#: The id that pydantic-ai gives to reasoning that Anthropic hides.
REDACTED = "redacted_thinking"

_FAMILIES: Mapping[str, Family] = {"anthropic": "anthropic", "google": "google"}
_EFFORTS: Mapping[str, ThinkingLevel] = {
    "off": False,
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_CHOICES: Mapping[str, Literal["auto", "none", "required"]] = {
    "Auto": "auto",
    "None": "none",
    "Required": "required",
}
_JSON_OBJECT = OutputObjectDefinition(json_schema={"type": "object"}, name="object")
_ASK_FOR_JSON = "Answer with one JSON object and nothing else."
#: OpenAI's own limit.
_MAX_CACHE_KEY = 64


@dataclass(frozen=True, slots=True)
class Target:
    """
    Whom the request is for.

    Attributes:
        family: Decides which replay fields the provider reads, and names its schema projections.
        system: pydantic-ai's name of the provider; marks what it made.
        canonical_system: Whose keys verify signed and encrypted data.
        native_schema: Whether the provider enforces output schemas itself.
        keyed_cache: Whether it caches by a key of the conversation.
        variants: The row's own names for reasoning efforts.
    """

    family: Family
    system: str
    canonical_system: str | None = None
    native_schema: bool = True
    keyed_cache: bool = False
    variants: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, model: Model, settings: ModelSettings) -> Target:
        """The target that a client and its row make."""
        provider = model.provider
        return cls(
            family=_FAMILIES.get(settings.provider, "openai"),
            system=model.system,
            canonical_system=provider.canonical_system if provider else None,
            native_schema=bool(model.profile.get("supports_json_schema_output", False)),
            keyed_cache=settings.provider in ("openai", "openai-chat"),
            variants=settings.variants,
        )


@dataclass(frozen=True, slots=True)
class Question:
    """A request in pydantic-ai's terms."""

    messages: list[ModelMessage]
    settings: ClientSettings
    parameters: ModelRequestParameters


def question_from(prompt: Prompt, target: Target) -> Question:
    """
    Translate a request.

    Raises:
        ModelCallError: When the request contradicts itself, or asks for what nobody can do; its
            code is ``invalid_request``.
    """
    spec = prompt.request
    return Question(
        messages=_messages(prompt, target),
        settings=_settings(spec, target),
        parameters=_parameters(spec, target),
    )


# Messages ------------------------------------------------------------------------------------


def _messages(prompt: Prompt, target: Target) -> list[ModelMessage]:
    names = _tool_names(prompt.request)
    found: list[ModelMessage] = []
    for number, message in enumerate(prompt.request.messages):
        last = found[-1] if found else None
        if message.role == "Assistant":
            said = [part for block in message.blocks for part in _said(block, number, target)]
            before = last.parts if isinstance(last, ModelResponse) else []
            made: ModelMessage = ModelResponse(
                parts=[*before, *said],
                provider_name=target.system,
                canonical_system=target.canonical_system,
            )
            merges = isinstance(last, ModelResponse)
        else:
            asked = _asked(message, number, prompt, names)
            earlier = last.parts if isinstance(last, ModelRequest) else []
            made = ModelRequest(parts=[*earlier, *asked])
            merges = isinstance(last, ModelRequest)
        found[len(found) - merges :] = [made]
    if not found:
        raise unfit("the request has no messages; expected at least one")
    return found


def _tool_names(spec: LlmRequestSpec) -> dict[str, str]:
    """The names of the tools that were called, by the ids of their calls."""
    blocks = [block for message in spec.messages for block in message.blocks]
    return {
        block.call_id: block.tool_name
        for block in blocks
        if isinstance(block, LlmContentBlockToolCall)
    }


def _asked(
    message: LlmMessage, number: int, prompt: Prompt, names: Mapping[str, str]
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
            parts.append(_tool_result(block, names))
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


def _tool_result(block: LlmContentBlockToolResult, names: Mapping[str, str]) -> ToolReturnPart:
    name = block.tool_name or names.get(block.call_id)
    if name is None:
        raise unfit(
            f"a tool result answers the call {printable(block.call_id, 100)!r}, which is not in "
            "the conversation, and names no tool; expected one of the two"
        )
    return ToolReturnPart(tool_name=name, content=block.content, tool_call_id=block.call_id)


def _misplaced(block: LlmContentBlock, role: str, number: int) -> Exception:
    return unfit(
        f"message {number} is a {role} message with a {block.wire_name} block; expected text in "
        "System messages, text, images and tool results in User messages, and text, reasoning and "
        "tool calls in Assistant messages"
    )


def _said(block: LlmContentBlock, number: int, target: Target) -> Iterable[ModelResponsePart]:
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
                tool_name=block.tool_name,
                args=block.input_json,
                tool_call_id=block.call_id,
                id=replay.item_id,
                provider_name=target.system,
                provider_details=_details(replay.opaque, target),
            )
        case _:
            raise _misplaced(block, "Assistant", number)


def _details(opaque: str | None, target: Target) -> dict[str, Any] | None:
    """What ``responses`` put there, or the signature that Gemini wants back."""
    if not opaque:
        return None
    try:
        found: object = json.loads(opaque)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    return {"thought_signature": opaque} if target.family == "google" else None


def _reasoning(block: LlmContentBlockReasoning, target: Target) -> Iterable[ThinkingPart]:
    replay = block.replay or ProviderReasoningReplay()
    if target.family == "openai":
        texts = replay.summary or [block.text]
        for text in texts if replay.item_id else [block.text]:
            yield ThinkingPart(
                text,
                id=replay.item_id,
                # Each piece of a summary carries the whole state; it is sent once.
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


# Settings and parameters ---------------------------------------------------------------------


def _settings(spec: LlmRequestSpec, target: Target) -> ClientSettings:
    found: dict[str, Any] = {}
    if spec.generation.output_token_cap is not None:
        found["max_tokens"] = spec.generation.output_token_cap
    if spec.tools:
        found["tool_choice"] = _CHOICES[spec.tool_choice]
    elif spec.tool_choice == "Required":
        raise unfit("the request requires a tool call and offers no tools; expected tools")
    if spec.model_variant:
        found["thinking"] = _effort(spec.model_variant, target)
    if spec.session_id and target.keyed_cache:
        found["openai_prompt_cache_key"] = _cache_key(spec.session_id)
    if target.family == "anthropic" and _caches_system(spec):
        found["anthropic_cache_instructions"] = True
    return cast("ClientSettings", found)


def _effort(variant: str, target: Target) -> ThinkingLevel:
    known = {**{name: name for name in _EFFORTS}, **target.variants}
    if variant not in known:
        raise unfit(
            f"the model has no variant {printable(variant, 100)!r}; expected one of "
            f"{', '.join(known)}, or a name listed under variants of the model"
        )
    return _EFFORTS[known[variant]]


def _cache_key(session_id: str) -> str:
    if len(session_id) <= _MAX_CACHE_KEY:
        return session_id
    return hashlib.sha256(session_id.encode()).hexdigest()


def _caches_system(spec: LlmRequestSpec) -> bool:
    blocks = [
        block for message in spec.messages for block in message.blocks if message.role == "System"
    ]
    return any(
        isinstance(block, LlmContentBlockText) and block.cache_breakpoint for block in blocks
    )


def _parameters(spec: LlmRequestSpec, target: Target) -> ModelRequestParameters:
    tools = [_tool(tool, target) for tool in spec.tools]
    output = spec.output_spec
    if output is None:
        return ModelRequestParameters(function_tools=tools)
    if not isinstance(output, LlmOutputSpecJsonSchema):
        return ModelRequestParameters(
            function_tools=tools,
            output_mode="prompted",
            output_object=_JSON_OBJECT,
            prompted_output_template=_ASK_FOR_JSON,
        )
    schema = output.value
    wanted = OutputObjectDefinition(
        json_schema=_schema(schema.schema_, "the output schema"),
        name=schema.name,
        strict=schema.strict,
    )
    mode: Literal["native", "prompted"] = "native" if target.native_schema else "prompted"
    return ModelRequestParameters(function_tools=tools, output_mode=mode, output_object=wanted)


def _tool(tool: LlmToolSpec, target: Target) -> ToolDefinition:
    projected = [
        projection.schema_
        for projection in tool.input_schema_projections
        if projection.profile == target.family
    ]
    schema = projected[0] if projected else tool.input_schema
    what = f"the input schema of tool {printable(tool.name, 100)!r}"
    return ToolDefinition(
        name=tool.name,
        description=tool.description or None,
        parameters_json_schema=_schema(schema, what),
    )


def _schema(schema: object, what: str) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise unfit(f"{what} is not a JSON object; expected a JSON Schema")
    return cast("dict[str, Any]", schema)
