"""What a language model is asked: model, messages, tools, limits."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from effectmq.protocol.encoding.model import (
    EXTERNAL,
    UNIT,
    ExternalVariant,
    Json,
    NonZeroUsize,
    OrAbsent,
    Usize,
    WireModel,
)
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)
from effectmq.protocol.wire.tool_definitions import SchemaProjectionOverride

__all__ = [
    "GenerationOptions",
    "LlmAttachmentSpec",
    "LlmContentBlock",
    "LlmContentBlockImage",
    "LlmContentBlockReasoning",
    "LlmContentBlockText",
    "LlmContentBlockToolCall",
    "LlmContentBlockToolResult",
    "LlmJsonSchema",
    "LlmMessage",
    "LlmOutputSpec",
    "LlmOutputSpecJsonSchema",
    "LlmRequestSpec",
    "LlmRole",
    "LlmToolChoice",
    "LlmToolSpec",
]

LlmRole = Annotated[Literal["User", "Assistant", "System"], UNIT]

LlmToolChoice = Annotated[Literal["Auto", "None", "Required"], UNIT]


class LlmAttachmentSpec(WireModel):
    """An attachment of a request, by reference."""

    reference: AttachmentRef


class LlmContentBlockText(ExternalVariant):
    """
    Text.

    Attributes:
        cache_breakpoint: The provider may cache the conversation up to here.
    """

    wire_name: ClassVar[str] = "Text"

    text: str
    response_meta: ResponseTextMeta | None = None
    cache_breakpoint: bool


class LlmContentBlockImage(ExternalVariant):
    """
    An image.

    Attributes:
        attachment_idx: Its index in the request's ``attachments``.
    """

    wire_name: ClassVar[str] = "Image"

    attachment_idx: Usize


class LlmContentBlockToolCall(ExternalVariant):
    """
    A tool call that the model made earlier.

    Attributes:
        input_json: The arguments as JSON text.
    """

    wire_name: ClassVar[str] = "ToolCall"

    call_id: str
    tool_name: str
    input_json: str
    replay: ProviderReplayMeta | None = None


class LlmContentBlockToolResult(ExternalVariant):
    """What an earlier tool call gave."""

    wire_name: ClassVar[str] = "ToolResult"

    call_id: str
    content: str
    tool_name: str | None = None


class LlmContentBlockReasoning(ExternalVariant):
    """Reasoning that the model did earlier."""

    wire_name: ClassVar[str] = "Reasoning"

    text: str
    replay: ProviderReasoningReplay | None = None


LlmContentBlock = Annotated[
    LlmContentBlockText
    | LlmContentBlockImage
    | LlmContentBlockToolCall
    | LlmContentBlockToolResult
    | LlmContentBlockReasoning,
    EXTERNAL,
]


class LlmMessage(WireModel):
    """One message of the conversation."""

    role: LlmRole
    blocks: list[LlmContentBlock]


class LlmToolSpec(WireModel):
    """A tool as the model is told of it."""

    name: str
    description: str
    input_schema: Json
    output_schema: Json
    input_schema_projections: list[SchemaProjectionOverride]
    output_schema_projections: list[SchemaProjectionOverride]


class GenerationOptions(WireModel):
    """
    Limits for the answer. Takes no members but its own.

    Attributes:
        output_token_cap: The most tokens the answer may have.
    """

    model_config = ConfigDict(extra="forbid")

    output_token_cap: OrAbsent[NonZeroUsize] = None


class LlmJsonSchema(WireModel):
    """
    A schema that the answer must follow.

    Attributes:
        schema_: ``schema`` on the wire.
        strict: The provider is to enforce it.
    """

    name: str
    schema_: Annotated[Json, Field(alias="schema")]
    strict: bool


class LlmOutputSpecJsonSchema(WireModel):
    """The answer is JSON that follows a schema."""

    wire_name: ClassVar[str] = "JsonSchema"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[LlmJsonSchema, Field(alias="JsonSchema")]


#: ``"JsonObject"`` asks for any JSON object.
LlmOutputSpec = Annotated[Literal["JsonObject"] | LlmOutputSpecJsonSchema, EXTERNAL]


class LlmRequestSpec(WireModel):
    """
    One request to a language model.

    Attributes:
        attachments: What the image blocks of the messages point to.
        model_variant: For instance a reasoning effort.
        session_id: For providers that cache by conversation.
    """

    model: str
    messages: list[LlmMessage]
    attachments: list[LlmAttachmentSpec]
    tools: list[LlmToolSpec]
    tool_choice: LlmToolChoice
    model_variant: str | None = None
    generation: GenerationOptions = Field(default_factory=GenerationOptions)
    session_id: str | None = None
    output_spec: LlmOutputSpec | None = None
