"""Tool calls that a model asks for: run, or told to it as failures."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.errors import ConfigurationError, MalformedError, PayloadTooLargeError
from effectmq.protocol.tool_calls.from_model import arguments_from_model, calls_from_model, too_much
from effectmq.protocol.wire.llm_request import LlmContentBlockToolCall, LlmToolSpec
from effectmq.protocol.wire.llm_response import LlmOutputPartText, LlmOutputPartToolCall
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolFailure,
    ToolRetryDispositionNever,
)

REPLAY = ProviderReplayMeta(item_id="i1", opaque="o")


def part(text: str, call_id: str = "c1", name: str = "get") -> LlmOutputPartToolCall:
    """A call with these words as arguments."""
    return LlmOutputPartToolCall(call_id=call_id, tool_name=name, input_json=text, replay=REPLAY)


def spec(name: str) -> LlmToolSpec:
    """A tool on offer."""
    return LlmToolSpec(
        name=name,
        description="",
        input_schema={},
        output_schema={},
        input_schema_projections=[],
        output_schema_projections=[],
    )


def failure(outcome: object, call_id: str = "c1", name: str = "get") -> ToolFailure:
    """The failure in an outcome, which is whole and has the call in it."""
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    assert from_tree(RuntimeEffectOutcome, to_tree(outcome)) == outcome
    assert canonical_bytes(outcome)
    result = outcome.result
    assert (result.call_id, result.tool_name, result.replay) == (call_id, name, REPLAY)
    assert isinstance(result.output.outcome, ToolCallOutcomeFailure)
    found = result.output.outcome.payload
    assert (found.source, found.retry) == ("runtime", ToolRetryDispositionNever())
    (read,) = result.model_return.parts
    assert read.type == "text"
    assert found.message in read.text
    return found


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ("{}", {}),
        (' {"a": 1} ', {"a": 1}),
        ('{"a": "}{"}', {"a": "}{"}),
        ('{"a": "\\ud83d\\ude42"}', {"a": "🙂"}),
        ('{"a":' + "[" * 55 + "]" * 55 + "}", None),
    ],
)
def test_an_object_is_the_arguments(text: str, args: dict[str, object] | None) -> None:
    """Nothing at all is a call without any; what the provider wants back goes along."""
    (call,) = calls_from_model([part(text)])
    assert isinstance(call, PreparedToolCall)
    assert args is None or call.args == args == arguments_from_model(part(text))
    assert call.replay == REPLAY
    block = LlmContentBlockToolCall(call_id="c1", tool_name="get", input_json=text)
    assert arguments_from_model(block) == call.args


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ', "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("a=1", "not JSON"),
        ("[1, 2]", "an array"),
        ('"text"', "a text"),
        ("7", "a number"),
        ("true", "true"),
        ('{"a": 1}{"a": 2}', "several JSON values in a row"),
        ('{"a": 1}\n{"a": 1}', "make one call for each"),
        ('{"a": 1} and so on', "more text after"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "finite"),
        ('{"a": "\\ud83d"}', "surrogate"),
        ('{"\\ud83d": 1}', "surrogate"),
        ('{"a": 123456789012345678901234567890}', "outside"),
        ('{"a": ' + "9" * 5_000 + "}", "a number of 5000 digits"),
        ('{"a": -' + "9" * 401 + "}", "a number of 402 digits"),
        ('{"a":' + "[" * 57 + "]" * 57 + "}", "levels"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ('{"a": 1, "\\u0061": 1}', "'a' twice"),
        ('{"a": [{"b": 1, "c": 2, "b": 3}]}', "'b' twice"),
        ('{"a": 1}{"a": 1, "a": 2}', "twice"),
        ('\ufeff{"a": 1}', "not JSON"),
        ('{"a": 1}\ufeff', "more text after"),
        ('"{\\"a\\": 1}"', "a text"),
        ("```json\n{}\n```", "not JSON"),
        ("\0", "not JSON"),
        ("[" * 100_000, "too deeply"),
        ('{"a":' + "[" * 100_000, "too deeply"),
    ],
)
def test_everything_else_is_a_failure_that_the_model_gets_to_read(text: str, words: str) -> None:
    """It says what was found and what was expected, under the id of the call."""
    (outcome,) = calls_from_model([part(text)])
    found = failure(outcome)
    assert (found.class_, found.code) == ("invalid_request", "invalid_tool_args")
    assert found.message.startswith("invalid arguments for tool get: ")
    assert words in found.message
    assert len(found.message) < 1_000
    with pytest.raises(MalformedError):
        arguments_from_model(part(text))


def test_a_tool_that_was_not_on_offer_is_told_with_the_nearest() -> None:
    """When it is known what was; else it is for the worker to say."""
    (outcome,) = calls_from_model([part("{}", name="got")], [spec("get"), spec("put")])
    found = failure(outcome, name="got")
    assert (found.class_, found.code) == ("unavailable", "tool_unavailable")
    assert "Did you mean get?" in found.message
    assert "On offer: get, put" in found.message
    (call,) = calls_from_model([part("{}", name="got")])
    assert isinstance(call, PreparedToolCall)
    (outcome,) = calls_from_model([part("{}")], [])
    assert "On offer: none" in failure(outcome).message


def test_of_two_calls_with_one_id_the_second_is_told() -> None:
    """Their results could not be told apart."""
    first, second = calls_from_model([part("{}"), part('{"a": 1}')])
    assert isinstance(first, PreparedToolCall)
    assert failure(second).code == "duplicate_call_id"


def test_of_two_calls_without_an_id_the_second_is_told() -> None:
    """One without is none to be told from others."""
    first, second = calls_from_model([part("{}", call_id=""), part("{}", call_id="")])
    assert isinstance(first, PreparedToolCall)
    found = failure(second, call_id="")
    assert (found.code, "no id either" in found.message) == ("duplicate_call_id", True)


NO_PARTS: list[Any] = [None, 5, "text", {}, part("{}"), [None], ["text"], [{"call_id": "c"}]]
NO_PARTS += [[LlmOutputPartText(text="text")]]
NO_TOOLS: list[Any] = [5, "get", {"get": spec("get")}, spec("get"), ["get"], [None], [object()]]


@pytest.mark.parametrize("parts", NO_PARTS)
def test_what_is_no_call_of_a_model_is_the_callers_mistake(parts: Any) -> None:
    """An error with what to give; the model has nothing to do with it."""
    with pytest.raises(ConfigurationError, match="expected"):
        calls_from_model(parts)


def test_the_arguments_of_no_call_are_the_callers_mistake() -> None:
    """Likewise."""
    nothing: Any = {"a": 1}
    with pytest.raises(ConfigurationError, match="LlmOutputPartToolCall"):
        arguments_from_model(nothing)


@pytest.mark.parametrize("tools", NO_TOOLS)
def test_what_is_no_tool_is_the_callers_mistake(tools: Any) -> None:
    """Names are not enough to say so: they are easily another list's."""
    with pytest.raises(ConfigurationError, match=r"\.spec\(\)"):
        calls_from_model([part("{}")], tools)


def test_calls_and_tools_may_come_one_by_one() -> None:
    """From whatever can be gone through."""
    parts = (part("{}", call_id=f"c{number}") for number in range(2))
    assert len(calls_from_model(parts, iter([spec("get")]))) == 2


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (PayloadTooLargeError("the envelope", 9, 5), "a call of 9 bytes, expected at most 5"),
        (MalformedError("command.call.args.a[0]", "nested deeper"), "found nested deeper"),
        (PayloadTooLargeError("the effect scope", 9, 5), None),
        (MalformedError("invocation", "found nothing"), None),
    ],
)
def test_what_cannot_be_sent_is_told_to_the_model_when_it_is_its_own(
    problem: MalformedError | PayloadTooLargeError, words: str | None
) -> None:
    """And to the caller otherwise."""
    (call,) = calls_from_model([part('{"a": 1}')])
    assert isinstance(call, PreparedToolCall)
    outcome = too_much(call, problem)
    assert (outcome is None) is (words is None)
    if words is not None:
        found = failure(outcome)
        assert found.code == "invalid_tool_args"
        assert words in found.message
