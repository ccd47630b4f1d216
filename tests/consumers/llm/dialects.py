"""What providers say over HTTP, as small as their libraries accept."""

from __future__ import annotations

from typing import Any

from tests.consumers.llm.server import Answer, events, json_answer

__all__ = [
    "anthropic_answer",
    "anthropic_events",
    "chat_answer",
    "chat_events",
    "google_answer",
    "google_events",
    "responses_answer",
    "responses_events",
]

_CHAT_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def chat_answer(
    text: str | None, *, calls: tuple[dict[str, Any], ...] = (), reason: str = "stop"
) -> Answer:
    """Chat Completions, in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = list(calls)
    return json_answer(
        {
            "id": "chat-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "m-1",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": _CHAT_USAGE,
        }
    )


def _chat_chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "chat-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "m-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }


def chat_events(
    *texts: str,
    calls: tuple[dict[str, Any], ...] = (),
    reason: str | None = "stop",
    **options: Any,
) -> Answer:
    """Chat Completions, streamed; without a reason it ends as a cut-off stream does."""
    deltas = [_chat_chunk({"role": "assistant", "content": text}) for text in texts]
    deltas += [_chat_chunk({"tool_calls": [call]}) for call in calls]
    if reason is None:
        return events(*deltas, **options)
    usage = {**_chat_chunk({}), "choices": [], "usage": _CHAT_USAGE}
    return events(*deltas, _chat_chunk({}, reason), usage, end=b"data: [DONE]\n\n", **options)


def responses_answer(output: list[dict[str, Any]], **more: Any) -> Answer:
    """OpenAI Responses, in one piece."""
    return json_answer(_response(output, **more))


def _response(output: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "id": "resp-1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "m-1",
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 18,
        },
        **more,
    }


def responses_events(*texts: str) -> Answer:
    """OpenAI Responses, streamed: one message of text."""
    item = {"id": "msg-1", "type": "message", "role": "assistant", "content": []}
    place = {"item_id": "msg-1", "output_index": 0, "content_index": 0}
    done = {"type": "output_text", "text": "".join(texts), "annotations": []}
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response([], status="in_progress")},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress"},
        },
        {
            "type": "response.content_part.added",
            **place,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        *(
            {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []}
            for text in texts
        ),
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**item, "status": "completed", "content": [done]},
        },
        {
            "type": "response.completed",
            "response": _response([{**item, "status": "completed", "content": [done]}]),
        },
    ]
    numbered = [{**body, "sequence_number": number} for number, body in enumerate(bodies)]
    return events(*numbered, names=True)


_ANTHROPIC_USAGE = {
    "input_tokens": 7,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 0,
    "output_tokens": 7,
}


def _anthropic_message(content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    return {
        "id": "msg-1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": _ANTHROPIC_USAGE,
    }


def anthropic_answer(content: list[dict[str, Any]], reason: str = "end_turn") -> Answer:
    """Anthropic Messages, in one piece."""
    return json_answer(_anthropic_message(content, reason))


def anthropic_events(*texts: str) -> Answer:
    """Anthropic Messages, streamed: one block of text."""
    return events(
        {"type": "message_start", "message": _anthropic_message([], None)},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in texts
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
        names=True,
    )


def _google(parts: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if reason:
        candidate["finishReason"] = reason
    return {
        "responseId": "r-1",
        "modelVersion": "m-1",
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 11,
            "cachedContentTokenCount": 4,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 2,
            "totalTokenCount": 18,
        },
    }


def google_answer(parts: list[dict[str, Any]], reason: str = "STOP") -> Answer:
    """Gemini, in one piece."""
    return json_answer(_google(parts, reason))


def google_events(*texts: str) -> Answer:
    """Gemini, streamed."""
    last = len(texts) - 1
    return events(
        *(
            _google([{"text": text}], "STOP" if number == last else None)
            for number, text in enumerate(texts)
        )
    )
