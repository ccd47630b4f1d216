"""
Outcomes of the frequent shapes, read without what the models allow beside them.

They are a tool call without events and without a control, whose value is plain data or whose
failure has no raw value, and a sleep. pydantic-core checks the shape and makes the models in one
step: none of the forms in which serde would also read them, and no function of Python in between.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import CoreSchema, SchemaValidator
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.exact.plain import is_settled
from effectmq.protocol.exact.shapes import MAX_COUNT
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeSleep,
    RuntimeEffectOutcomeToolCall,
)
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tools import (
    CompletedToolCall,
    ModelToolReturn,
    ModelToolReturnPartText,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolFailure,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)

__all__ = ["FAILURE_CLASSES", "FAILURE_SOURCES", "outcome_of"]

#: The words of ``ToolFailureClass`` and of ``ToolFailureSource``.
FAILURE_CLASSES: Final = (
    "invalid_request",
    "unavailable",
    "permission_denied",
    "timeout",
    "execution",
    "external",
    "resource_limit",
    "internal",
)
FAILURE_SOURCES: Final = ("runtime", "tool", "plugin", "policy", "cancellation")


# The shapes ------------------------------------------------------------------------------------


def _model(model: type[BaseModel], /, **fields: CoreSchema) -> CoreSchema:
    # A name that Python has a use for ends with an underscore.
    known = {
        name: cs.model_field(schema, validation_alias=name[:-1] if name.endswith("_") else None)
        for name, schema in fields.items()
    }
    return cs.model_schema(model, cs.model_fields_schema(known), config=_STRICT)


_STRICT: Final = cs.CoreConfig(strict=True, extra_fields_behavior="forbid")
_ANY: Final = cs.any_schema()
#: Without a bound, with which pydantic-core would read the text: the decoder has done that.
_TEXT: Final = cs.str_schema()
_COUNT: Final = cs.int_schema(ge=0, le=MAX_COUNT)
_U32: Final = cs.int_schema(ge=0, le=2**32 - 1)


def _left_out(schema: CoreSchema) -> CoreSchema:
    return cs.with_default_schema(schema, default=None)


def _or_none(schema: CoreSchema) -> CoreSchema:
    return _left_out(cs.nullable_schema(schema))


def _word(*words: str) -> CoreSchema:
    return cs.literal_schema(list(words))


_disposition = cs.tagged_union_schema(
    {
        "never": _model(ToolRetryDispositionNever, type=_word("never")),
        "safe": _model(ToolRetryDispositionSafe, type=_word("safe"), after_ms=_or_none(_COUNT)),
        "exhausted": _model(ToolRetryDispositionExhausted, type=_word("exhausted"), attempts=_U32),
    },
    "type",
)

_failure = _model(
    ToolFailure,
    class_=_word(*FAILURE_CLASSES),
    code=_TEXT,
    message=_TEXT,
    source=_word(*FAILURE_SOURCES),
    retry=_disposition,
    raw=_left_out(cs.none_schema()),
)

_told = cs.tagged_union_schema(
    {
        "success": _model(ToolCallOutcomeSuccess, status=_word("success"), payload=_ANY),
        "failure": _model(ToolCallOutcomeFailure, status=_word("failure"), payload=_failure),
    },
    "status",
)

_returned = _model(
    ModelToolReturn,
    call_id=_TEXT,
    tool_name=_TEXT,
    parts=cs.list_schema(
        _model(ModelToolReturnPartText, type=_word("text"), text=_TEXT), fail_fast=True
    ),
)

_completed = _model(
    CompletedToolCall,
    call_id=_TEXT,
    tool_name=_TEXT,
    args=_ANY,
    output=_model(ToolCallOutput, outcome=_told, control=_left_out(cs.none_schema())),
    model_return=_returned,
    duration_ms=_COUNT,
    replay=_or_none(_model(ProviderReplayMeta, item_id=_or_none(_TEXT), opaque=_or_none(_TEXT))),
)

_outcome = cs.tagged_union_schema(
    {
        "tool_call": _model(
            RuntimeEffectOutcomeToolCall,
            type=_word("tool_call"),
            result=_completed,
            host_events=cs.with_default_schema(
                cs.list_schema(cs.any_schema(), max_length=0), default_factory=list
            ),
        ),
        "sleep": _model(RuntimeEffectOutcomeSleep, type=_word("sleep")),
    },
    "type",
)

_read_outcome = SchemaValidator(_outcome).validate_python


# Reading ---------------------------------------------------------------------------------------


def outcome_of(tree: object) -> RuntimeEffectOutcome:
    """
    Read an outcome as ``from_tree(RuntimeEffectOutcome, tree)`` does.

    Args:
        tree: From ``codec.decode_tree``, and of no further use: its containers may be kept.

    Raises:
        MalformedError: When it is no outcome; carries the path.
    """
    outcome: RuntimeEffectOutcome
    try:
        outcome = _read_outcome(tree)
        if type(outcome) is not RuntimeEffectOutcomeToolCall or _is_settled(outcome.result):
            return outcome
    except ValidationError:
        # Another shape, or no outcome: the models say which.
        pass
    outcome = from_tree(RuntimeEffectOutcome, tree)
    return outcome


def _is_settled(call: CompletedToolCall) -> bool:
    told = call.output.outcome
    if type(told) is ToolCallOutcomeSuccess and not is_settled(told.payload):
        return False
    return is_settled(call.args)
