"""
A request to a language model: model, messages, tools, limits.

``LlmRequest`` is the request in a program, ``LlmRequestSpec`` the same on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field

from effectmq.protocol.encoding.serde.model import (
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
from effectmq.protocol.wire.live_attachments import AttachmentSink, LiveAttachment, reference_of
from effectmq.protocol.wire.llm_events import LlmEventSender, LlmProviderTraceSender
from effectmq.protocol.wire.media_types import mime_of
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
    "LlmRequest",
    "LlmRequestSpec",
    "LlmRole",
    "LlmToolChoice",
    "LlmToolSpec",
    "attachment_specs",
]

LlmRole = Annotated[Literal["User", "Assistant", "System"], UNIT]

LlmToolChoice = Annotated[Literal["Auto", "None", "Required"], UNIT]


class LlmAttachmentSpec(WireModel):
    """An attachment of a request, by reference."""

    reference: AttachmentRef

    def into_attachment(self) -> LiveAttachment:
        """Return the attachment for a program; its bytes are still in the store."""
        return LiveAttachment(mime=mime_of(self.reference.media_type), reference=self.reference)


async def attachment_specs(
    store: AttachmentSink | None, attachments: Sequence[LiveAttachment]
) -> list[LlmAttachmentSpec]:
    """
    Return the attachments of a request, with references in place of bytes.

    Args:
        store: Stores the bytes; without one only references can be sent.
        attachments: The attachments, in the order of ``Image.attachment_idx``.

    Raises:
        AttachmentReferenceError: When one cannot be sent; carries the wire's code and message.
    """
    return [
        LlmAttachmentSpec(reference=await reference_of(store, attachment))
        for attachment in attachments
    ]


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
    """The result of an earlier tool call."""

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
    """A tool as the model is told about it."""

    name: str
    description: str
    input_schema: Json
    output_schema: Json
    input_schema_projections: list[SchemaProjectionOverride]
    output_schema_projections: list[SchemaProjectionOverride]


class GenerationOptions(WireModel):
    """
    Limits for the answer. No other members are allowed.

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
        strict: Whether the provider must enforce it.
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


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """
    A request to a language model in a program, with bytes and callbacks.

    Attributes:
        model: The model's name.
        messages: The conversation.
        attachments: The attachments that image blocks of the messages refer to.
        tools: The tools that the model may call.
        tool_choice: Whether it may, must or must not call one.
        model_variant: A variant of the model, for instance a reasoning effort.
        generation: Limits for the answer.
        session_id: For providers that cache by conversation.
        output_spec: The form of the answer, when it is not plain text.
        stream_events: Called with each event while the answer arrives.
        provider_trace: Called with each event of the provider, word for word.
    """

    model: str
    messages: Sequence[LlmMessage]
    attachments: Sequence[LiveAttachment] = ()
    tools: Sequence[LlmToolSpec] = ()
    tool_choice: LlmToolChoice = "Auto"
    model_variant: str | None = None
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    session_id: str | None = None
    output_spec: LlmOutputSpec | None = None
    stream_events: LlmEventSender | None = field(default=None, compare=False, repr=False)
    provider_trace: LlmProviderTraceSender | None = field(default=None, compare=False, repr=False)


class LlmRequestSpec(WireModel):
    """
    One request to a language model.

    Attributes:
        attachments: The attachments that image blocks of the messages refer to.
        model_variant: A variant of the model, for instance a reasoning effort.
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

    @classmethod
    async def from_request(cls, request: LlmRequest, store: AttachmentSink | None) -> Self:
        """
        Return the wire form of a request: callbacks are dropped, bytes become references.

        Args:
            request: The request in a program.
            store: Stores the bytes of attachments; without one only references can be sent.

        Raises:
            AttachmentReferenceError: When an attachment cannot be sent; carries the wire's code.
            MalformedError: When a member is not of its type.
        """
        return cls(
            model=request.model,
            messages=list(request.messages),
            attachments=await attachment_specs(store, request.attachments),
            tools=list(request.tools),
            tool_choice=request.tool_choice,
            model_variant=request.model_variant,
            generation=request.generation,
            session_id=request.session_id,
            output_spec=request.output_spec,
        )

    def into_request(
        self,
        stream_events: LlmEventSender | None = None,
        provider_trace: LlmProviderTraceSender | None = None,
    ) -> LlmRequest:
        """
        Return the request for a program; bytes of attachments are still in the store.

        Args:
            stream_events: Called with each event while the answer arrives.
            provider_trace: Called with each event of the provider, word for word.
        """
        return LlmRequest(
            model=self.model,
            messages=self.messages,
            attachments=[attachment.into_attachment() for attachment in self.attachments],
            tools=self.tools,
            tool_choice=self.tool_choice,
            model_variant=self.model_variant,
            generation=self.generation,
            session_id=self.session_id,
            output_spec=self.output_spec,
            stream_events=stream_events,
            provider_trace=provider_trace,
        )
