"""Typed functions as tools: the signature is the contract."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.registry import BadArgumentsError
from effectmq.consumers.tools.results.special import Attachment, ToolReturn
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tool_definitions import ToolRetryPolicyNever, ToolRetryPolicySafe
from tests.consumers.stage import tool

SAFE = ToolRetryPolicySafe(max_attempts=2, base_delay_ms=1, max_delay_ms=0)
CONTEXT = EffectContext(tool("t"), "1:c1", 1, 0, "")


class Place(BaseModel):
    """A nested argument."""

    city: str
    zip: int = 0


async def add(a: int, b: int = 2) -> int:
    """
    Add two numbers.

    The rest of the docstring is for the model, too.
    """
    return a + b


DESCRIPTION = "Add two numbers.\n\nThe rest of the docstring is for the model, too."


async def invoke(function: Any, args: object) -> object:
    """A function called as a tool."""
    return await tool_from(function).invoke(args, CONTEXT)


def test_name_description_and_schema_come_from_the_function() -> None:
    """What a model is told about the tool."""
    made = tool_from(add)
    assert made.name == "add"
    assert made.description == DESCRIPTION
    assert made.input_schema["properties"] == {
        "a": {"title": "A", "type": "integer"},
        "b": {"default": 2, "title": "B", "type": "integer"},
    }
    assert made.input_schema["required"] == ["a"]
    assert made.input_schema["additionalProperties"] is False
    assert made.retry_policy == ToolRetryPolicyNever()
    assert made.time_limit_s is None


def test_what_is_given_beats_what_is_found() -> None:
    """Name, policy and limit can be chosen."""
    policy = ToolRetryPolicySafe(max_attempts=2, base_delay_ms=0, max_delay_ms=0)
    made = tool_from(add, name="math.add-2", retry=policy, time_limit_s=1.5)
    assert (made.name, made.retry_policy, made.time_limit_s) == ("math.add-2", policy, 1.5)


async def test_arguments_are_validated_before_the_function_sees_them() -> None:
    """Defaults are the function's own; nested models arrive as models."""

    async def visit(place: Place, mode: Literal["walk", "fly"], days: int = 3) -> object:
        return (type(place), place.city, mode, days)

    args = {"place": {"city": "Bonn"}, "mode": "walk"}
    assert await invoke(visit, args) == (Place, "Bonn", "walk", 3)
    assert await invoke(add, {"a": 1}) == 3


@pytest.mark.parametrize(
    ("args", "problems"),
    [
        ({}, ["a: Field required"]),
        ({"a": "x"}, ["a: Input should be a valid integer"]),
        ({"a": 1, "c": 2}, ["c: Extra inputs are not permitted"]),
        ({"b": None}, ["a: Field required", "b: Input should be a valid integer"]),
        ([1, 2], ["found list, expected an object of named arguments"]),
        (None, ["found NoneType, expected an object of named arguments"]),
        ("a=1", ["found str, expected an object of named arguments"]),
    ],
)
async def test_bad_arguments_are_named_one_by_one(args: object, problems: list[str]) -> None:
    """The model that made the call can mend it, and the function was not called."""
    with pytest.raises(BadArgumentsError) as refused:
        await invoke(add, args)
    assert len(refused.value.problems) == len(problems)
    for found, expected in zip(refused.value.problems, problems, strict=True):
        assert found.startswith(expected)


async def test_a_bad_argument_is_named_by_its_path_and_not_by_its_value() -> None:
    """Arguments may be secret."""

    async def visit(place: Place) -> None: ...

    with pytest.raises(BadArgumentsError) as refused:
        await invoke(visit, {"place": {"city": ["s3cret"], "zip": "s3cret"}})
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "place.city",
        "place.zip",
    ]
    assert "s3cret" not in str(refused.value)


async def test_a_tool_may_ask_for_the_context() -> None:
    """By type, under any name; it is no argument of the model's."""

    async def who(suffix: str, effect: EffectContext) -> str:
        return effect.effect_id + suffix

    made = tool_from(who)
    assert list(made.input_schema["properties"]) == ["suffix"]
    assert await made.invoke({"suffix": "!"}, CONTEXT) == "1:c1!"


@pytest.mark.parametrize(
    "name",
    [
        "schema",
        "json",
        "copy",
        "self",
        "_a",
        "p1",
        "model_config",
        "model_dump",
        "model_fields_set",
    ],
)
async def test_a_parameter_may_have_any_name(name: str) -> None:
    """Those that pydantic keeps for itself included, and without a warning."""
    scope: dict[str, Any] = {}
    exec(f"async def t({name}: int, p0: int = 5): return {name} + p0", scope)
    made = tool_from(scope["t"])
    assert list(made.input_schema["properties"]) == [name, "p0"]
    assert await made.invoke({name: 1}, CONTEXT) == 6
    assert await made.invoke({name: 1, "p0": 1}, CONTEXT) == 2
    with pytest.raises(BadArgumentsError, match=f"^{name}: "):
        await made.invoke({name: "x"}, CONTEXT)


async def test_annotations_of_pydantic_work() -> None:
    """Bounds and descriptions belong to the contract."""

    async def roll(sides: Annotated[int, Field(ge=2, description="how many")]) -> int:
        return sides

    assert tool_from(roll).input_schema["properties"]["sides"]["minimum"] == 2
    with pytest.raises(BadArgumentsError, match="greater than or equal to 2"):
        await invoke(roll, {"sides": 1})


async def test_a_parameter_without_a_type_takes_anything() -> None:
    """It is described to the model as anything, too."""

    async def echo(value):  # type: ignore[no-untyped-def]
        return value

    assert await invoke(echo, {"value": [1]}) == [1]


async def test_plain_functions_partials_and_callables_are_tools() -> None:
    """Whatever can be called by name; what is awaitable is awaited."""

    def plain(a: int) -> int:
        return a

    class Later:
        """An object whose call is a coroutine."""

        async def __call__(self, a: int) -> int:
            return a + 1

    assert await invoke(plain, {"a": 1}) == 1
    assert await tool_from(functools.partial(add, b=5), name="p").invoke({"a": 1}, CONTEXT) == 6
    assert await tool_from(Later(), name="later").invoke({"a": 1}, CONTEXT) == 2


def star(*args: int) -> None: ...
def stars(**kwargs: int) -> None: ...
def positional(a: int, /) -> None: ...
def unresolved(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unknown(a: object.__new__) -> None: ...  # type: ignore[valid-type]
def broken(a: "1 +") -> None: ...  # type: ignore[valid-type]  # noqa: F722


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (star, "args"),
        (stars, "kwargs"),
        (positional, "cannot be given by name"),
        (unresolved, "Missing"),
        (unknown, "unknown"),
        (broken, "SyntaxError"),
        (lambda a: a, "lambda"),
        (functools.partial(add), "name"),
    ],
)
def test_a_signature_that_cannot_be_a_tools_is_refused_with_a_sentence(
    function: Any, word: str
) -> None:
    """At registration, not at the first call."""
    with pytest.raises(ConfigurationError, match=word):
        tool_from(function)


@pytest.mark.parametrize("name", ["a b", "a/b", "é!", "1"])
def test_a_name_that_models_would_refuse_is_refused(name: str) -> None:
    """Letters, digits, ``_``, ``-`` and dots."""
    with pytest.raises(ConfigurationError, match="name"):
        tool_from(add, name=name)


@pytest.mark.parametrize("limit_s", [0, -1, float("nan")])
def test_a_time_limit_in_which_nothing_can_run_is_refused(limit_s: float) -> None:
    """Zero is not "no limit", and not the default either."""
    with pytest.raises(ConfigurationError, match="time_limit_s"):
        tool_from(add, time_limit_s=limit_s)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (add, {"name": 5}, "name is 5.*expected letters"),
        (add, {"name": ["add"]}, "name is .*expected letters"),
        (add, {"retry": "safe"}, "retry of tool 'add' is 'safe'; expected a retry policy"),
        (add, {"retry": {"type": "never"}}, "expected a retry policy"),
        (add, {"lane": 5}, "lane of tool 'add' is 5"),
        (add, {"lane": "a b"}, "lane of tool 'add' is 'a b'; expected 1 to 200 characters"),
        ("add", {}, r"found the text 'add'.*@app.tool\(name='add'\)"),
        (tool_from(add), {}, "found a Python Tool where a function is expected"),
        (5, {}, "found a Python int where a function is expected"),
    ],
)
def test_what_else_is_said_of_a_tool_is_checked_when_it_is_said(
    function: Any, options: dict[str, Any], words: str
) -> None:
    """A call would find it out otherwise, or nothing would."""
    with pytest.raises(ConfigurationError, match=words):
        tool_from(function, **options)


def test_a_text_that_cannot_be_sent_is_told_with_escapes() -> None:
    """Half a surrogate pair in a docstring is no reason to do without the tool."""

    def odd() -> None: ...

    odd.__doc__ = "Do \ud800."
    made = tool_from(odd)
    assert made.spec().description == "Do \\ud800."
    assert made.definition().manifest.description == made.description


class NotComparable:
    """As arrays are, for instance."""

    def __eq__(self, other: object) -> bool:
        """Whatever."""
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_a_result_hint_may_be_anything() -> None:
    """It is no promise, so nothing is refused because of it."""

    def odd() -> None: ...

    odd.__annotations__["return"] = NotComparable()
    assert tool_from(odd).output_schema == {}


def test_a_tool_is_described_for_models_and_for_sessions() -> None:
    """With the lane for producers; and what the hint of the result says."""
    made = tool_from(add, retry=SAFE, lane="gpu")
    assert (made.lane, made.parameters, made.repeatable) == ("gpu", ("a", "b"), True)
    assert tool_from(add).lane == ""
    assert not tool_from(add).repeatable
    spec = made.spec()
    assert (spec.name, spec.description) == ("add", DESCRIPTION)
    assert spec.input_schema == made.input_schema
    assert spec.output_schema == {"type": "integer"}
    assert to_tree(made.definition()) == {
        "id": "tool:add",
        "name": "add",
        "description": DESCRIPTION,
        "retry_policy": to_tree(SAFE),
        "input_schema": to_tree(spec)["input_schema"],
        "output_schema": {"type": "integer"},
    }


def nothing() -> None: ...
def anything() -> Any: ...
def picture() -> list[Attachment]: ...
def reference() -> dict[str, AttachmentRef]: ...
def asking() -> ToolReturn | int: ...
def foreign() -> Unschematic: ...


class Unschematic:
    """A class that pydantic knows nothing of."""


@pytest.mark.parametrize("function", [anything, picture, reference, asking, foreign])
def test_a_result_that_no_schema_describes_has_none(function: Any) -> None:
    """A hint of the result is for people first, so it may be anything."""
    assert tool_from(function).output_schema == {}


def test_a_tool_that_gives_nothing_says_so() -> None:
    """As JSON Schema has it."""
    assert tool_from(nothing).output_schema == {"type": "null"}
