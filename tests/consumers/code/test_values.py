"""Values between code and the world."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.consumers.code.data.values import CodeError, UnsendableError, answer_of, to_json
from effectmq.consumers.code.functions import Function, functions_of, signatures, usable
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.results.outputs import failure, output_from
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.tools import (
    ToolCallOutcomeCancelled,
    ToolCallOutput,
    ToolCancellation,
    ToolFailureClass,
)

IMAGE = AttachmentRef(id="a" * 64, media_type=MediaTypeImage(type="png"), byte_len=4)


def endless() -> list[Any]:
    """A list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "json"),
    [
        ({"a": (1, 2.5, None, True, "é")}, {"a": [1, 2.5, None, True, "é"]}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
    ],
)
def test_plain_data_has_a_json_form(value: object, json: object) -> None:
    """Tuples become lists."""
    assert to_json(value, 1_000) == json


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "it holds a set"),
        ({1: 2}, "it holds a int as a key"),
        (2**64, "more than 64 bits"),
        (float("inf"), "it holds inf"),
        ("\ud800", "surrogate"),
        (endless(), "more than 100 levels"),
        ([["x" * 10] * 100] * 100, "over the limit of 1000 bytes"),
        ("é" * 600, "over the limit"),
    ],
)
def test_what_has_no_json_form_says_why(value: object, words: str) -> None:
    """What was found, for the code to read."""
    with pytest.raises(UnsendableError, match=words):
        to_json(value, 1_000)


def test_an_attachment_of_a_tool_can_be_passed_on() -> None:
    """Code sees it as the wire shows it."""
    answer = answer_of("draw", output_from({"image": IMAGE}))
    assert answer == {
        "image": {
            "$lash_tool_value": "attachment",
            "ref": {
                "id": "a" * 64,
                "media_type": {"kind": "image", "type": "png"},
                "byte_len": 4,
            },
        }
    }


@pytest.mark.parametrize(
    ("class_", "exception"),
    [
        ("invalid_request", "ValueError"),
        ("permission_denied", "PermissionError"),
        ("timeout", "TimeoutError"),
        ("execution", "RuntimeError"),
    ],
)
def test_a_failed_tool_raises_in_the_code(class_: ToolFailureClass, exception: str) -> None:
    """By its class, with its code and message."""
    with pytest.raises(CodeError, match=rf"^{exception}: t failed \(no_luck\): try later$"):
        answer_of("t", failure(class_, "no_luck", "try later"))


def test_a_cancelled_tool_raises_in_the_code() -> None:
    """As a failure does."""
    cancelled = ToolCancellation(message="enough", source="cancellation")
    with pytest.raises(CodeError, match="t was cancelled: enough"):
        answer_of("t", ToolCallOutput(outcome=ToolCallOutcomeCancelled(payload=cancelled)))


def test_arguments_find_their_names() -> None:
    """By place, then by name; what the names mean is for the tool to say."""
    function = Function("f", "f", ("a", "b"))
    assert function.bind((1,), {"c": 3}) == {"a": 1, "c": 3}
    with pytest.raises(CodeError, match="multiple values for argument 'a'"):
        function.bind((1,), {"a": 2})


def test_tools_get_names_that_code_can_say() -> None:
    """Two that would be one are refused before any code runs."""
    functions = functions_of({"web.get-page": ("url",)})
    assert functions == {"web_get_page": Function("web_get_page", "web.get-page", ("url",))}
    with pytest.raises(ConfigurationError, match=r"'a-b' and 'a\.b' would both be called a_b"):
        functions_of({"a-b": (), "a.b": ()})


def test_the_signature_of_a_tool_is_that_of_its_function() -> None:
    """Without the context, which comes from elsewhere."""

    def find(text: str, context: EffectContext, limit: int = 3) -> str:
        return text * limit

    assert signatures({"find": tool_from(find)}) == {"find": ("text", "limit")}


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("class", "keyword"),
        ("None", "keyword"),
        ("await", "keyword"),
        ("print", "Python's own"),
        ("len", "Python's own"),
        ("TimeoutError", "Python's own"),
        ("__import__", "Python's own"),
        ("__name__", "Python's own"),
        ("finish", "belongs to every block"),
        ("show-image", "belongs to every block"),
        ("1st", "no name in Python"),
        ("get weather", "no name in Python"),
    ],
)
def test_a_tool_that_code_could_not_call_is_refused(tool: str, words: str) -> None:
    """With its name, the reason, and what to do."""
    with pytest.raises(ConfigurationError, match=rf"'{tool}'.*{words}.*@app\.tool\(name="):
        functions_of({tool: (), "other": ()})
    found, problems = usable({tool: (), "other": ()})
    assert list(found) == ["other"]
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("get-user", "get_user"),
        ("get.weather", "get-weather"),
        ("\N{LATIN SMALL LIGATURE FI}nd", "find"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"),
    ],
)
def test_two_tools_of_one_name_in_code_are_both_named(first: str, second: str) -> None:
    """Python takes letters that only look different for the same."""
    with pytest.raises(ConfigurationError) as refused:
        functions_of({first: (), second: ()})
    assert repr(first) in str(refused.value)
    assert repr(second) in str(refused.value)
    found, (problem,) = usable({first: ("a",), second: ("b",)})
    assert [function.tool for function in found.values()] == [first]
    assert second in problem


@pytest.mark.parametrize(
    "tool", ["match", "type_", "_", "exit", "help", "asyncio", "\u00e9t\u00e9"]
)
def test_what_only_looks_odd_can_be_called(tool: str) -> None:
    """Soft keywords and names of modules are names like others."""
    assert list(functions_of({tool: ()})) == [tool]
