"""From what was received to the response on the wire: every part, every end."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.messages import (
    BinaryImage,
    FilePart,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.usage import RequestUsage

from effectmq.consumers.llm.hosted.conversation import messages_from
from effectmq.consumers.llm.hosted.responses import response_from
from effectmq.consumers.llm.hosted.targets import Target
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.wire.llm_request import (
    LlmContentBlock,
    LlmMessage,
)
from effectmq.protocol.wire.llm_response import LlmResponse, LlmUsage
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)
from tests.consumers.llm.asking import prompt

CALL = ToolCallPart("lookup", '{"word": "x"}', tool_call_id="c1")


def received(*parts: Any, **more: Any) -> LlmResponse:
    """The response for an answer of these parts; it must survive the wire."""
    response = response_from(ModelResponse(parts=list(parts), **more))
    assert from_tree(LlmResponse, to_tree(response)) == response
    return response


def test_text_is_joined_and_kept_in_parts_with_its_marks() -> None:
    """Id and phase, when the provider gave them."""
    details = {"phase": "commentary", "citations": []}
    marked = TextPart("b", id="m1", provider_name="openai", provider_details=details)
    response = received(TextPart("a"), marked)
    assert response.full_text == "ab"
    first, second = response.parts
    assert getattr(first, "response_meta", 0) is None
    assert getattr(second, "response_meta", 0) == ResponseTextMeta(id="m1", phase="commentary")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ({"a": 1}, '{"a": 1}'),
        (None, "{}"),
        ("", "{}"),
        ("{oops", "{oops"),
    ],
)
def test_the_arguments_of_a_tool_call_are_json_text(args: Any, expected: str) -> None:
    """As the model wrote them, mistakes included: whoever runs the tool says what is wrong."""
    (part,) = received(ToolCallPart("lookup", args, tool_call_id="c1")).parts
    assert getattr(part, "input_json", None) == expected


@pytest.mark.parametrize(
    ("more", "replay"),
    [
        ({}, None),
        ({"id": "fc"}, ProviderReplayMeta(item_id="fc")),
        (
            {"provider_details": {"thought_signature": "c2ln"}},
            ProviderReplayMeta(opaque="c2ln"),
        ),
        (
            {"provider_details": {"namespace": "n"}},
            ProviderReplayMeta(opaque='{"namespace": "n"}'),
        ),
    ],
)
def test_the_marks_on_a_tool_call_are_kept(more: dict[str, Any], replay: Any) -> None:
    """For the provider that made them, and for nobody else to read."""
    (part,) = received(ToolCallPart("t", "{}", tool_call_id="c", provider_name="p", **more)).parts
    assert getattr(part, "replay", 0) == replay


@pytest.mark.parametrize(
    ("parts", "text", "replay"),
    [
        ([ThinkingPart("hm")], "hm", None),
        (
            [ThinkingPart("hm", signature="sig", provider_name="anthropic")],
            "hm",
            ProviderReasoningReplay(signature="sig"),
        ),
        (
            [ThinkingPart("", id="redacted_thinking", signature="data", provider_name="anthropic")],
            "",
            ProviderReasoningReplay(signature="data", redacted=True),
        ),
        (
            [ThinkingPart("hm", provider_details={"thought_signature": "c2ln"})],
            "hm",
            ProviderReasoningReplay(signature="c2ln"),
        ),
        (
            [
                ThinkingPart("a", id="rs", signature="enc", provider_name="openai"),
                ThinkingPart("b", id="rs", provider_name="openai"),
            ],
            "a\n\nb",
            ProviderReasoningReplay(item_id="rs", encrypted_content="enc", summary=["a", "b"]),
        ),
    ],
)
def test_reasoning_is_kept_with_what_its_provider_wants_back(
    parts: list[Any], text: str, replay: Any
) -> None:
    """Signatures, hidden reasoning, and the pieces of one item as one part."""
    (part,) = received(*parts).parts
    assert (getattr(part, "text", None), getattr(part, "replay", 0)) == (text, replay)


def test_an_answer_comes_back_to_its_provider_as_it_was() -> None:
    """There and back again: what was received, put into the next request, is sent the same."""
    parts = [
        ThinkingPart("a", id="rs", signature="enc", provider_name="openai"),
        TextPart("ok", id="m1", provider_name="openai", provider_details={"phase": "commentary"}),
        ToolCallPart("t", "{}", tool_call_id="c", id="fc", provider_name="openai"),
    ]
    tree = to_tree(received(*parts))
    blocks: list[Any] = []
    for part in tree["parts"]:
        ((kind, fields),) = part.items()
        more = {"cache_breakpoint": False} if kind == "Text" else {}
        blocks.append(from_tree(LlmContentBlock, {kind: {**fields, **more}}))
    message = LlmMessage(role="Assistant", blocks=blocks)
    (sent,) = messages_from(prompt(message), Target("openai", "openai"))
    assert list(sent.parts) == parts


@pytest.mark.parametrize(
    ("more", "parts", "reason", "diagnostic"),
    [
        ({"finish_reason": "stop"}, [TextPart("a")], "stop", None),
        ({"finish_reason": "stop"}, [CALL], "tool_use", None),
        ({"finish_reason": "tool_call"}, [CALL], "tool_use", None),
        ({"finish_reason": "length"}, [TextPart("a")], "output_limit", None),
        ({"finish_reason": "length"}, [CALL], "output_limit", None),
        ({"finish_reason": "error"}, [], "provider_error", None),
        ({}, [TextPart("a")], "unknown", None),
        ({}, [CALL], "tool_use", None),
        (
            {
                "finish_reason": "content_filter",
                "provider_details": {"finish_reason": "refusal", "refusal": "I will not"},
            },
            [],
            "content_filter",
            "refusal; I will not",
        ),
        (
            {
                "finish_reason": "length",
                "provider_details": {"finish_reason": "model_context_window_exceeded"},
            },
            [TextPart("a")],
            "context_overflow",
            "model_context_window_exceeded",
        ),
        (
            {"provider_details": {"finish_reason": "pause_turn"}},
            [TextPart("a")],
            "unknown",
            "pause_turn",
        ),
    ],
)
def test_every_end_has_its_reason_and_an_unusual_one_its_words(
    more: dict[str, Any], parts: list[Any], reason: str, diagnostic: str | None
) -> None:
    """A tool call is one whatever the provider calls its stop."""
    response = received(*parts, **more)
    assert (response.terminal_reason, response.terminal_diagnostic) == (reason, diagnostic)


def test_what_the_wire_has_no_form_for_is_left_out_and_counted() -> None:
    """Not in silence."""
    image = FilePart(BinaryImage(b"x", media_type="image/png"))
    response = received(TextPart("a"), image, finish_reason="stop")
    assert len(response.parts) == 1
    assert "1 part(s) of the answer" in str(response.terminal_diagnostic)


def test_the_tokens_are_counted_and_the_providers_own_counts_kept() -> None:
    """Cached tokens are part of the input, reasoning is part of the output."""
    usage = RequestUsage(
        input_tokens=11,
        output_tokens=7,
        cache_read_tokens=4,
        output_reasoning_tokens=2,
        details={"accepted_prediction_tokens": 1},
    )
    response = received(TextPart("a"), usage=usage)
    assert response.usage == LlmUsage(
        input_tokens=11, output_tokens=7, cached_input_tokens=4, reasoning_tokens=2
    )
    assert response.provider_usage == {
        "accepted_prediction_tokens": 1,
        "cache_read_tokens": 4,
        "input_tokens": 11,
        "output_reasoning_tokens": 2,
        "output_tokens": 7,
    }


def test_a_provider_that_counts_nothing_leaves_nothing() -> None:
    """Zero on the wire, where there is no "unknown"; ``null`` in the provider's words."""
    response = received(TextPart("a"))
    assert response.usage.input_tokens == 0
    assert response.provider_usage is None


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    """JSON can spell it, and no text on the wire can hold it."""
    response = received(TextPart("a\ud800b"), ToolCallPart("t", '"\ud800"', tool_call_id="c"))
    assert response.full_text == "a\ufffdb"
