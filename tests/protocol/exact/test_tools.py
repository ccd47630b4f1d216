"""The outcome of a tool call is the same, written at once or by way of the models."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, MSGPACK, encode_plain
from effectmq.protocol.encoding.serde.model import canonical_bytes, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.exact.outcomes import FAILURE_CLASSES, FAILURE_SOURCES
from effectmq.protocol.exact.plain import plain_copy
from effectmq.protocol.exact.shapes import NotExact
from effectmq.protocol.exact.tools import WrittenOutcome, written_failure, written_success
from effectmq.protocol.messages.reply import Answer, encode_reply
from effectmq.protocol.tool_calls.to_model import model_tool_return
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tools import (
    CompletedToolCall,
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolControlFinish,
    ToolFailure,
    ToolFailureClass,
    ToolFailureSource,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)
from tests.protocol.strategies import json_values, wire_values

_few = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

CALL = PreparedToolCall(call_id="c1", tool_name="add", args={"b": 1, "a": {"x": [None]}})


def completed(
    call: PreparedToolCall, output: ToolCallOutput, duration_ms: int
) -> RuntimeEffectOutcomeToolCall:
    """By way of the models."""
    result = CompletedToolCall(
        call_id=call.call_id,
        tool_name=call.tool_name,
        args=call.args,
        output=output,
        model_return=model_tool_return(call.call_id, call.tool_name, output),
        duration_ms=duration_ms,
        replay=call.replay,
    )
    return RuntimeEffectOutcomeToolCall(result=result)


def same(written: WrittenOutcome, model: RuntimeEffectOutcomeToolCall) -> None:
    """Trees, bytes, bodies, records and failures."""
    tree = to_tree(model)
    assert repr(written.tree) == repr(tree)
    printed = canonical_json(written.tree)
    assert printed == canonical_bytes(model)
    for content_type in (JSON, MSGPACK):
        assert encode_plain(written.tree, content_type) == encode_plain(tree, content_type)
        answer = Answer("e", "k", "h", {"Ok": written.tree}, 2, replayed=True)
        assert encode_reply(answer, content_type, printed) == encode_reply(answer, content_type)
    assert written.failure == model.failure
    assert written.model == model
    assert written.model.value_or("none") == model.value_or("none")


@given(call=wire_values(PreparedToolCall), value=json_values, duration_ms=st.integers(0, 2**64 - 1))
@_few
def test_any_call_that_returned_plain_data_is_the_same(
    call: PreparedToolCall, value: Any, duration_ms: int
) -> None:
    """Built at random."""
    try:
        copy = plain_copy(value)
    except NotExact:
        return
    written = written_success(call, copy, duration_ms)
    output = ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=value))
    if written is not None:
        same(written, completed(call, output, duration_ms))


@given(call=wire_values(PreparedToolCall), failure=wire_values(ToolFailure))
@_few
def test_any_call_that_failed_is_the_same(call: PreparedToolCall, failure: ToolFailure) -> None:
    """Built at random."""
    output = ToolCallOutput(outcome=ToolCallOutcomeFailure(payload=failure))
    written = written_failure(call, output, 5)
    if written is not None:
        same(written, completed(call, output, 5))


VALUES: list[Any] = [3, "", "text", 'é🙂\x00"', None, False, [], {}, 1.5, {"b": [1, {}], "a": "x"}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_values_of_most_tools_need_no_models(value: Any) -> None:
    """Otherwise the tests above would compare nothing."""
    output = ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=value))
    for call in (CALL, CALL.model_copy(update={"replay": ProviderReplayMeta(item_id="i")})):
        written = written_success(call, plain_copy(value), 7)
        assert written is not None
        same(written, completed(call, output, 7))


def failing(**changes: Any) -> ToolCallOutput:
    """A call that failed."""
    failure = ToolFailure(
        class_="timeout",
        code="c",
        message="it took é long",
        source="runtime",
        retry=ToolRetryDispositionNever(),
    ).model_copy(update=changes)
    return ToolCallOutput(outcome=ToolCallOutcomeFailure.model_construct(payload=failure))


RETRIES: list[Any] = [
    ToolRetryDispositionNever(),
    ToolRetryDispositionSafe(),
    ToolRetryDispositionSafe(after_ms=0),
    ToolRetryDispositionExhausted(attempts=3),
]


@pytest.mark.parametrize("message", ["", "m"])
@pytest.mark.parametrize("retry", RETRIES, ids=repr)
def test_the_failures_of_most_tools_need_no_models(retry: Any, message: str) -> None:
    """Whatever is said about another attempt."""
    output = failing(retry=retry, message=message)
    written = written_failure(CALL, output, 7)
    assert written is not None
    same(written, completed(CALL, output, 7))


def test_the_words_of_a_failure_are_those_of_its_model() -> None:
    """They are written down a second time, for the shape."""
    assert get_args(get_args(ToolFailureClass)[0]) == FAILURE_CLASSES
    assert get_args(get_args(ToolFailureSource)[0]) == FAILURE_SOURCES


SUCCESS = ToolCallOutcomeSuccess(payload=1)
LEFT: list[ToolCallOutput] = [
    failing(raw={"a": 1}),
    failing(code="\ud800"),
    failing(message=b"bytes"),
    failing(class_="odd"),
    failing(class_=["timeout"]),
    failing(source="odd"),
    failing(retry=None),
    failing(retry=ToolRetryDispositionNever.model_construct(type="odd")),
    failing(retry=ToolRetryDispositionExhausted.model_construct(attempts="3")),
    failing(retry=ToolRetryDispositionSafe.model_construct(after_ms=1.5)),
    failing().model_copy(update={"control": ToolControlFinish(value=1)}),
    ToolCallOutput(outcome=SUCCESS),
]


@pytest.mark.parametrize("output", LEFT)
def test_other_failures_are_left_to_the_models(output: ToolCallOutput) -> None:
    """They know what to say of them."""
    assert written_failure(CALL, output, 7) is None


class _Derived(PreparedToolCall):
    """A class of a user."""


CALLS = [
    _Derived(call_id="c1", tool_name="add", args={}),
    CALL.model_copy(update={"args": {"a": object()}}),
    CALL.model_copy(update={"args": {2: 1}}),
    CALL.model_copy(update={"call_id": "\ud800"}),
    CALL.model_copy(update={"tool_name": 5}),
    CALL.model_copy(update={"replay": {"item_id": "i"}}),
    CALL.model_copy(update={"replay": ProviderReplayMeta.model_construct(item_id=1)}),
    PreparedToolCall.model_construct(call_id="c1"),
]


@pytest.mark.parametrize("call", CALLS)
def test_other_calls_are_left_to_the_models(call: PreparedToolCall) -> None:
    """As a tool may have changed its arguments."""
    assert written_success(call, 1, 7) is None
    assert written_failure(call, failing(), 7) is None


@pytest.mark.parametrize("duration_ms", [-1, 2**64, True])
def test_other_durations_are_left_to_the_models(duration_ms: int) -> None:
    """They refuse them."""
    assert written_success(CALL, 1, duration_ms) is None
    with pytest.raises(MalformedError):
        completed(CALL, ToolCallOutput(outcome=SUCCESS), duration_ms)


def test_a_written_outcome_shares_nothing_with_its_call() -> None:
    """The arguments are the tool's, and it may still change them."""
    call = CALL.model_copy(deep=True)
    written = written_success(call, 1, 7)
    assert written is not None
    call.args["a"]["x"].append(1)
    assert written.tree["result"]["args"] == {"a": {"x": [None]}, "b": 1}
