"""Everything of a request that is not the conversation: limits, tools, schemas, efforts."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.consumers.llm.hosted.requests import Question, question_from
from effectmq.consumers.llm.hosted.targets import Target
from effectmq.consumers.llm.port import ModelCallError
from effectmq.protocol.wire.llm_request import (
    GenerationOptions,
    LlmJsonSchema,
    LlmOutputSpecJsonSchema,
)
from effectmq.protocol.wire.tool_definitions import SchemaProjectionOverride
from tests.consumers.llm.asking import LOOKUP, message, prompt, text

OPENAI = Target("openai", "openai", keyed_cache=True)
ANTHROPIC = Target("anthropic", "anthropic")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
OUTPUT = LlmOutputSpecJsonSchema(value=LlmJsonSchema(name="out", schema_=SCHEMA, strict=True))


def asked(target: Target = OPENAI, **more: Any) -> Question:
    """The question that a small request with these fields becomes."""
    return question_from(prompt("hi", **more), target)


def refused(target: Target = OPENAI, **more: Any) -> str:
    """What is said of a request that nobody can answer."""
    with pytest.raises(ModelCallError) as problem:
        asked(target, **more)
    assert problem.value.failure.code == "invalid_request"
    return problem.value.failure.message


def test_a_small_request_sets_nothing() -> None:
    """The provider's defaults are the provider's."""
    question = asked()
    assert question.settings == {}
    assert question.parameters.function_tools == []
    assert question.parameters.output_mode == "text"


def test_the_cap_on_the_answer_goes_along() -> None:
    """In tokens."""
    assert asked(generation=GenerationOptions(output_token_cap=9)).settings == {"max_tokens": 9}


@pytest.mark.parametrize(
    ("choice", "expected"), [("Auto", "auto"), ("None", "none"), ("Required", "required")]
)
def test_tools_go_along_with_the_choice(choice: Any, expected: str) -> None:
    """Name, description, input schema; the output schema is for the host alone."""
    question = asked(tools=[LOOKUP], tool_choice=choice)
    assert question.settings.get("tool_choice") == expected
    (tool,) = question.parameters.function_tools
    assert (tool.name, tool.description) == ("lookup", "Look it up.")
    assert tool.parameters_json_schema == LOOKUP.input_schema


def test_without_tools_there_is_nothing_to_choose_and_nothing_to_require() -> None:
    """Providers refuse a choice among nothing."""
    assert asked(tool_choice="None").settings == {}
    assert "offers no tools" in refused(tool_choice="Required")


def test_a_schema_that_is_projected_for_the_provider_replaces_the_general_one() -> None:
    """By the family's name; the others' are theirs."""
    other = SchemaProjectionOverride(profile="anthropic", schema_={"type": "object", "x": 1})
    own = SchemaProjectionOverride(profile="openai", schema_={"type": "object", "x": 2})
    tool = LOOKUP.model_copy(update={"input_schema_projections": [other, own]})
    (sent,) = asked(tools=[tool]).parameters.function_tools
    assert sent.parameters_json_schema == {"type": "object", "x": 2}
    (sent,) = asked(ANTHROPIC, tools=[tool]).parameters.function_tools
    assert sent.parameters_json_schema == {"type": "object", "x": 1}


def test_a_schema_that_is_none_is_refused_by_name() -> None:
    """``true`` is a JSON Schema, and no provider takes it."""
    tool = LOOKUP.model_copy(update={"input_schema": True})
    assert "tool 'lookup'" in refused(tools=[tool])
    schema = LlmJsonSchema(name="out", schema_=[], strict=False)
    assert "the output schema" in refused(output_spec=LlmOutputSpecJsonSchema(value=schema))


def test_an_output_schema_is_enforced_where_the_provider_can() -> None:
    """Elsewhere it is asked for in words."""
    parameters = asked(output_spec=OUTPUT).parameters
    assert parameters.output_mode == "native"
    wanted = parameters.output_object
    assert wanted is not None
    assert (wanted.name, wanted.json_schema, wanted.strict) == ("out", SCHEMA, True)
    weak = Target("openai", "openai", native_schema=False)
    assert asked(weak, output_spec=OUTPUT).parameters.output_mode == "prompted"


def test_any_json_object_is_asked_for_in_words() -> None:
    """And through the provider's JSON mode where there is one."""
    parameters = asked(output_spec="JsonObject").parameters
    assert parameters.output_mode == "prompted"
    assert "JSON" in str(parameters.prompted_output_template)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("off", False), ("minimal", "minimal"), ("max", "max"), ("deep", "high")],
)
def test_a_variant_is_an_effort_or_a_name_that_the_row_gives_one(
    variant: str, expected: object
) -> None:
    """Rows may know names of their own."""
    target = Target("openai", "openai", variants={"deep": "high"})
    assert asked(target, model_variant=variant).settings == {"thinking": expected}


def test_a_variant_that_nobody_knows_is_refused() -> None:
    """Leaving it out would be another answer than the one that was asked for."""
    assert "no variant 'deepest'" in refused(model_variant="deepest")


@pytest.mark.parametrize(("variant", "effort"), [("high", "high"), ("off", "none")])
def test_an_effort_for_an_unknown_openai_model_is_left_to_its_server(
    variant: str, effort: str
) -> None:
    """A name of one's own tells the library nothing."""
    target = Target("openai", "openai-compatible", thinks=False)
    assert asked(target, model_variant=variant).settings == {"openai_reasoning_effort": effort}


def test_an_effort_for_a_model_that_takes_none_is_refused() -> None:
    """Not dropped in silence."""
    target = Target("google", "google", thinks=False)
    assert "the model takes none" in refused(target, model_variant="high")


def test_the_session_is_the_key_of_the_cache_where_there_are_keys() -> None:
    """OpenAI's are 64 characters at most; others would refuse the parameter."""
    assert asked(session_id="s1").settings == {"openai_prompt_cache_key": "s1"}
    (key,) = asked(session_id="s" * 65).settings.values()
    assert len(str(key)) == 64
    assert asked(ANTHROPIC, session_id="s1").settings == {}


def test_a_cache_breakpoint_of_the_system_caches_the_instructions() -> None:
    """Anthropic's way; others cache by themselves."""
    system = message("System", text("rules", cache_breakpoint=True))
    settings = question_from(prompt(system, "hi"), ANTHROPIC).settings
    assert settings == {"anthropic_cache_instructions": True}
    assert question_from(prompt(system, "hi"), OPENAI).settings == {}
