"""From the messages on the wire to those that are sent: every block kind, every field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.messages import (
    BinaryContent,
    CachePoint,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from effectmq.consumers.llm.hosted.conversation import messages_from
from effectmq.consumers.llm.hosted.targets import Target
from effectmq.consumers.llm.port import ModelCallError, Prompt
from effectmq.protocol.wire.llm_request import (
    LlmContentBlockImage,
    LlmContentBlockReasoning,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
)
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)
from tests.consumers.llm.asking import attachment, message, prompt, text
from tests.protocol.documents import example

OPENAI = Target("openai", "openai", "openai")
ANTHROPIC = Target("anthropic", "anthropic", "anthropic")
GOOGLE = Target("google", "google", "google")

CALL = LlmContentBlockToolCall(call_id="c1", tool_name="lookup", input_json='{"word":"x"}')
RESULT = LlmContentBlockToolResult(call_id="c1", content="found")
REASONING = LlmContentBlockReasoning(text="hm")


def contents(asked: Any) -> list[Any]:
    """What the user parts of a request hold; their timestamps are nobody's business."""
    return [(type(part), part.content) for part in asked.parts]


def said(block: Any, target: Target = OPENAI) -> list[Any]:
    """The parts that a block of the assistant becomes."""
    _, answer = messages_from(prompt("hi", message("Assistant", block)), target)
    return list(answer.parts)


def test_a_conversation_of_every_kind_of_block_goes_over_in_order() -> None:
    """The example of the wire format that has them all."""
    request = example("C2").command.request
    asked, answer, result = messages_from(Prompt(request, (b"\1\2\3\4",)), OPENAI)
    assert contents(asked) == [
        (SystemPromptPart, "sys"),
        (UserPromptPart, ["look", BinaryContent(b"\1\2\3\4", media_type="image/png")]),
    ]
    assert isinstance(answer, ModelResponse)
    assert (answer.provider_name, answer.canonical_system) == ("openai", "openai")
    assert list(answer.parts) == [
        ThinkingPart("s", id="rs_1", signature="enc", provider_name="openai"),
        TextPart(
            "ok", id="msg_1", provider_name="openai", provider_details={"phase": "commentary"}
        ),
        ToolCallPart(
            "echo", '{"value":"hi"}', tool_call_id="call-1", id="fc_1", provider_name="openai"
        ),
    ]
    assert isinstance(result, ModelRequest)
    (returned,) = result.parts
    assert isinstance(returned, ToolReturnPart)
    assert (returned.tool_name, returned.content, returned.tool_call_id) == ("echo", "hi", "call-1")


def test_neighbouring_messages_of_one_side_become_one() -> None:
    """Providers take turns."""
    found = messages_from(
        prompt(
            message("System", "be brief"),
            message("User", "a"),
            message("User", "b"),
            message("Assistant", "c"),
            message("Assistant", "d"),
        ),
        OPENAI,
    )
    asked, answer = found
    assert contents(asked) == [
        (SystemPromptPart, "be brief"),
        (UserPromptPart, "a"),
        (UserPromptPart, "b"),
    ]
    assert contents(answer) == [(TextPart, "c"), (TextPart, "d")]


def test_a_cache_breakpoint_of_the_user_goes_after_its_text() -> None:
    """The provider may cache up to there."""
    (asked,) = messages_from(
        prompt(message("User", text("long", cache_breakpoint=True), "short")), ANTHROPIC
    )
    assert contents(asked) == [(UserPromptPart, ["long", CachePoint(), "short"])]


@pytest.mark.parametrize("type_", ["png", "jpeg", "gif", "webp", "bmp"])
def test_an_image_is_the_bytes_of_the_attachment_that_it_names(type_: str) -> None:
    """With its media type."""
    block = LlmContentBlockImage(attachment_idx=1)
    spoken = prompt(
        message("User", block),
        attachments=[attachment("a" * 64), attachment("b" * 64, type_)],
        data=(b"first", b"second"),
    )
    (asked,) = messages_from(spoken, OPENAI)
    expected = BinaryContent(b"second", media_type=f"image/{type_}")
    assert contents(asked) == [(UserPromptPart, [expected])]


def test_a_tool_result_is_named_by_itself_or_by_the_call_that_it_answers() -> None:
    """Providers want the name, and the wire leaves it optional."""
    found = messages_from(
        prompt(
            "hi",
            message("Assistant", CALL),
            message("User", RESULT, "go on"),
        ),
        OPENAI,
    )
    result = found[-1]
    assert [part.part_kind for part in result.parts] == ["tool-return", "user-prompt"]
    assert getattr(result.parts[0], "tool_name", None) == "lookup"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "has no messages"),
        ([message("System", RESULT)], "message 0 has the role System and a ToolResult block"),
        ([message("User", CALL)], "message 0 has the role User and a ToolCall block"),
        ([message("User", REASONING)], "role User and a Reasoning block"),
        (["hi", message("Assistant", RESULT)], "message 1 has the role Assistant"),
        ([message("User", LlmContentBlockImage(attachment_idx=0))], "names attachment 0"),
        ([message("User", RESULT)], "names no tool"),
    ],
)
def test_a_conversation_that_contradicts_itself_is_refused(messages: list[Any], words: str) -> None:
    """As an outcome that says where, not as a provider's riddle."""
    with pytest.raises(ModelCallError) as refused:
        messages_from(prompt(*messages), OPENAI)
    failure = refused.value.failure
    assert (failure.code, failure.retryable) == ("invalid_request", False)
    assert words in failure.message


# What goes back to the provider that made it --------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "id_", "details"),
    [
        (None, None, None),
        (ResponseTextMeta(id="m1"), "m1", None),
        (ResponseTextMeta(status="completed"), None, None),
        (ResponseTextMeta(id="m1", phase="final_answer"), "m1", {"phase": "final_answer"}),
    ],
)
def test_the_marks_on_text_go_back(meta: Any, id_: str | None, details: Any) -> None:
    """Id and phase; the status of a message that is over is always the same."""
    (part,) = said(text("ok", response_meta=meta))
    assert (part.id, part.provider_details) == (id_, details)


def test_a_summary_of_reasoning_goes_back_piece_by_piece() -> None:
    """The pieces share the item's id; the encrypted state is with them."""
    replay = ProviderReasoningReplay(item_id="rs", encrypted_content="enc", summary=["a", "b"])
    parts = said(LlmContentBlockReasoning(text="a\n\nb", replay=replay))
    assert [(part.content, part.id, part.signature) for part in parts] == [
        ("a", "rs", "enc"),
        ("b", "rs", "enc"),
    ]


@pytest.mark.parametrize(
    ("replay", "target", "expected"),
    [
        (None, OPENAI, ThinkingPart("hm")),
        (
            ProviderReasoningReplay(signature="sig"),
            ANTHROPIC,
            ThinkingPart("hm", signature="sig", provider_name="anthropic"),
        ),
        (
            ProviderReasoningReplay(signature="data", redacted=True),
            ANTHROPIC,
            ThinkingPart("hm", id="redacted_thinking", signature="data", provider_name="anthropic"),
        ),
        (
            ProviderReasoningReplay(signature="sig"),
            GOOGLE,
            ThinkingPart(
                "hm", provider_name="google", provider_details={"thought_signature": "sig"}
            ),
        ),
        # What another provider made stays at home.
        (ProviderReasoningReplay(signature="sig"), OPENAI, ThinkingPart("hm")),
        (
            ProviderReasoningReplay(item_id="rs", encrypted_content="enc"),
            ANTHROPIC,
            ThinkingPart("hm"),
        ),
    ],
)
def test_reasoning_goes_back_to_the_provider_that_can_read_it(
    replay: Any, target: Target, expected: ThinkingPart
) -> None:
    """Recognised by its field: signatures, or items with encrypted content."""
    assert said(LlmContentBlockReasoning(text="hm", replay=replay), target) == [expected]


@pytest.mark.parametrize(
    ("replay", "target", "id_", "details"),
    [
        (None, OPENAI, None, None),
        (ProviderReplayMeta(item_id="fc"), OPENAI, "fc", None),
        (ProviderReplayMeta(opaque='{"namespace":"n"}'), OPENAI, None, {"namespace": "n"}),
        (ProviderReplayMeta(opaque="c2ln"), GOOGLE, None, {"thought_signature": "c2ln"}),
        (ProviderReplayMeta(opaque="c2ln"), OPENAI, None, None),
        (ProviderReplayMeta(opaque="[1]"), ANTHROPIC, None, None),
    ],
)
def test_the_marks_on_a_tool_call_go_back(
    replay: Any, target: Target, id_: str | None, details: Any
) -> None:
    """Opaque text is what ``responses`` wrote, or a bare signature of Gemini's."""
    (part,) = said(CALL.model_copy(update={"replay": replay}), target)
    assert (part.id, part.provider_details) == (id_, details)
    assert (part.tool_name, part.args, part.tool_call_id) == ("lookup", '{"word":"x"}', "c1")


@pytest.mark.parametrize("target", [OPENAI, ANTHROPIC, GOOGLE])
@pytest.mark.parametrize(
    "words", ['{"a": ', "[1]", '{"a": 1}{"a": 2}', '{"a": NaN}', '{"a": 1e999}', '"x"']
)
def test_what_a_model_wrote_wrongly_goes_back_inside_of_an_object(
    target: Target, words: str
) -> None:
    """Providers take objects only, and what it wrote explains the failure that follows."""
    block = LlmContentBlockToolCall(call_id="c1", tool_name="lookup", input_json=words)
    (part,) = said(block, target)
    assert part.args == {"INVALID_JSON": words}


@pytest.mark.parametrize("words", ["", "null", " {} "])
def test_a_call_without_arguments_goes_back_as_an_empty_object(words: str) -> None:
    """However the model wrote that."""
    block = LlmContentBlockToolCall(call_id="c1", tool_name="lookup", input_json=words)
    (part,) = said(block)
    assert part.args == "{}"
