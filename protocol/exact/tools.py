"""The outcomes of tool calls as trees, made without their models."""

from __future__ import annotations

from typing import Any, Final

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.exact.outcomes import FAILURE_CLASSES, FAILURE_SOURCES
from effectmq.protocol.exact.plain import plain_copy
from effectmq.protocol.exact.shapes import MAX_COUNT, NotExact, fields, is_unicode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.outcome_values import OutcomeFailure, tool_failure
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolFailure,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)

__all__ = ["WrittenOutcome", "written_failure", "written_success"]


class WrittenOutcome:
    """
    The outcome of a tool call that is written already; few ask for its model.

    Attributes:
        tree: What ``to_tree`` makes of the model; not to be changed.
        failure: How it failed, as the model says it; ``None`` when it did not.
    """

    __slots__ = ("failure", "tree")

    def __init__(self, tree: dict[str, Any], failure: OutcomeFailure | None = None) -> None:
        self.tree = tree
        self.failure = failure

    @property
    def model(self) -> RuntimeEffectOutcomeToolCall:
        """The same outcome as its model, made anew."""
        return from_tree(RuntimeEffectOutcomeToolCall, self.tree)


def written_success(call: PreparedToolCall, value: Any, duration_ms: int) -> WrittenOutcome | None:
    """
    The outcome of a call that returned plain data; ``None`` when it is left to the models.

    Args:
        call: The call.
        value: From ``plain_copy``; it becomes the outcome's own.
        duration_ms: How long it took.
    """
    text = value if type(value) is str else canonical_json(value, finite=True).decode()
    tree = _completed(call, {"status": "success", "payload": value}, text, duration_ms)
    return None if tree is None else WrittenOutcome(tree)


def written_failure(
    call: PreparedToolCall, output: ToolCallOutput, duration_ms: int
) -> WrittenOutcome | None:
    """
    The outcome of a call that failed; ``None`` when it is left to the models.

    Args:
        call: The call.
        output: Made by anybody and in any way.
        duration_ms: How long it took.
    """
    try:
        parts = fields(output, ToolCallOutput, ("outcome", "control"))
        told = fields(parts["outcome"], ToolCallOutcomeFailure, ("status", "payload"))
        failure = fields(told["payload"], ToolFailure, _FAILURE)
        if parts["control"] is not None or told["status"] != "failure":
            return None
        payload = _failure_tree(failure)
    except NotExact:
        return None
    message = failure["message"]
    text = f"{_FAILED}\n{message}" if message else _FAILED
    tree = _completed(call, {"status": "failure", "payload": payload}, text, duration_ms)
    if tree is None:
        return None
    return WrittenOutcome(tree, tool_failure(call.tool_name, told["payload"]))


#: As ``tool_calls.to_model`` says it.
_FAILED: Final = "[Tool execution failed]"
_FAILURE: Final = ("class_", "code", "message", "source", "retry", "raw")
_CALL: Final = ("call_id", "tool_name", "args", "replay", "prepared_payload")


def _completed(
    call: PreparedToolCall, outcome: dict[str, Any], text: str, duration_ms: int
) -> dict[str, Any] | None:
    try:
        parts = fields(call, PreparedToolCall, _CALL)
        call_id, tool_name = parts["call_id"], parts["tool_name"]
        args, replay = plain_copy(parts["args"]), parts["replay"]
        if replay is not None:
            replay = _replay_tree(replay)
    except NotExact:
        return None
    if not (
        is_unicode(call_id)
        and is_unicode(tool_name)
        and type(duration_ms) is int
        and 0 <= duration_ms <= MAX_COUNT
    ):
        return None
    said = [{"type": "text", "text": text}] if text else []
    return {
        "type": "tool_call",
        "result": {
            "call_id": call_id,
            "tool_name": tool_name,
            "args": args,
            "output": {"outcome": outcome},
            "model_return": {"call_id": call_id, "tool_name": tool_name, "parts": said},
            "duration_ms": duration_ms,
            "replay": replay,
        },
    }


def _failure_tree(failure: dict[str, Any]) -> dict[str, Any]:
    class_, code, message, source = (
        failure["class_"],
        failure["code"],
        failure["message"],
        failure["source"],
    )
    if not (
        class_ in FAILURE_CLASSES
        and source in FAILURE_SOURCES
        and is_unicode(code)
        and is_unicode(message)
        and failure["raw"] is None
    ):
        raise NotExact
    return {
        "class": class_,
        "code": code,
        "message": message,
        "source": source,
        "retry": _retry_tree(failure["retry"]),
    }


def _retry_tree(retry: object) -> dict[str, Any]:
    if type(retry) is ToolRetryDispositionNever:
        return _tagged("never", fields(retry, ToolRetryDispositionNever, ("type",)))
    if type(retry) is ToolRetryDispositionSafe:
        return _tagged("safe", fields(retry, ToolRetryDispositionSafe, ("type", "after_ms")))
    parts = fields(retry, ToolRetryDispositionExhausted, ("type", "attempts"))
    return _tagged("exhausted", parts)


def _tagged(tag: str, parts: dict[str, Any]) -> dict[str, Any]:
    """The members of a disposition; the one beside the tag is a number, or is left out."""
    tree = {name: value for name, value in parts.items() if value is not None}
    if tree.pop("type", "") != tag or not all(type(value) is int for value in tree.values()):
        raise NotExact
    return {"type": tag, **tree}


def _replay_tree(replay: object) -> dict[str, str]:
    parts = fields(replay, ProviderReplayMeta, ("item_id", "opaque"))
    tree = {name: value for name, value in parts.items() if value is not None}
    if not all(map(is_unicode, tree.values())):
        raise NotExact
    return tree
