"""The model that answers by rule, without a network and without any extra."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from effectmq.consumers.llm.port import ModelCallError
from effectmq.consumers.llm.script import ScriptCall, ScriptFailure, ScriptRule
from effectmq.consumers.llm.scripted import ScriptedModel
from effectmq.protocol.wire.llm_request import (
    GenerationOptions,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
)
from effectmq.protocol.wire.llm_response import (
    LlmOutputPartReasoning,
    LlmOutputPartText,
    LlmOutputPartToolCall,
    LlmUsage,
)
from tests.consumers.llm.asking import LOOKUP, message, prompt

CALLING = ScriptRule(
    when=r"(?i)look up (?P<word>\w+)",
    reasoning="I need $word.",
    reply="One moment.",
    calls=(ScriptCall(tool="lookup", arguments={"word": "$word", "list": ["$word", 1]}),),
)
TOLD = ScriptRule(after="lookup", reply="It is $text.")


async def test_without_rules_it_says_what_was_said() -> None:
    """The last message counts."""
    answer = await ScriptedModel().complete(prompt("a", message("Assistant", "b"), "hello there"))
    assert answer.full_text == "hello there"
    assert answer.parts == [LlmOutputPartText(text="hello there")]
    assert answer.terminal_reason == "stop"
    assert answer.usage == LlmUsage(
        input_tokens=4, output_tokens=2, cached_input_tokens=0, reasoning_tokens=0
    )


async def test_a_conversation_without_messages_is_answered_with_nothing() -> None:
    """It never fails by accident."""
    answer = await ScriptedModel().complete(prompt())
    assert (answer.full_text, answer.parts) == ("", [])


async def test_it_reasons_speaks_and_calls_tools_with_the_words_that_it_heard() -> None:
    """Groups of the pattern fill reply, reasoning and arguments."""
    model = ScriptedModel([CALLING, TOLD])
    answer = await model.complete(prompt("Please look up rabbits", tools=[LOOKUP]))
    assert answer.parts == [
        LlmOutputPartReasoning(text="I need rabbits."),
        LlmOutputPartText(text="One moment."),
        LlmOutputPartToolCall(
            call_id="call-1",
            tool_name="lookup",
            input_json='{"word":"rabbits","list":["rabbits",1]}',
        ),
    ]
    assert answer.terminal_reason == "tool_use"


@pytest.mark.parametrize("named", [True, False])
async def test_it_answers_to_the_result_of_a_tool(named: bool) -> None:
    """Whether the result names the tool or only the call."""
    call = LlmContentBlockToolCall(call_id="c", tool_name="lookup", input_json="{}")
    result = LlmContentBlockToolResult(
        call_id="c", content="soft", tool_name="lookup" if named else None
    )
    asked = prompt("?", message("Assistant", call), message("User", result), tools=[LOOKUP])
    answer = await ScriptedModel([CALLING, TOLD]).complete(asked)
    assert answer.full_text == "It is soft."


@pytest.mark.parametrize("more", [{}, {"tools": [LOOKUP], "tool_choice": "None"}])
async def test_it_calls_no_tool_that_is_not_on_offer(more: dict[str, object]) -> None:
    """The rule does not fit then, and the next one is asked."""
    answer = await ScriptedModel([CALLING]).complete(prompt("look up rabbits", **more))
    assert answer.full_text == "look up rabbits"
    assert answer.terminal_reason == "stop"


async def test_calls_are_numbered_through_the_conversation() -> None:
    """Two calls of one conversation never share an id."""
    call = LlmContentBlockToolCall(call_id="call-1", tool_name="lookup", input_json="{}")
    asked = prompt("?", message("Assistant", call), "look up more", tools=[LOOKUP])
    answer = await ScriptedModel([CALLING]).complete(asked)
    assert [part.call_id for part in answer.parts if isinstance(part, LlmOutputPartToolCall)] == [
        "call-2"
    ]


async def test_text_is_streamed_in_pieces_of_a_chosen_size() -> None:
    """Together they are the text."""
    heard: list[str] = []
    rule = ScriptRule(reply="abcdefg", piece_chars=3, pause_s=0.001)
    answer = await ScriptedModel([rule]).complete(prompt("x"), heard.append)
    assert heard == ["abc", "def", "g"]
    assert answer.full_text == "abcdefg"


async def test_it_fails_as_often_as_it_was_told_and_then_answers() -> None:
    """Counted by the attempt, so that it does not matter who makes it."""
    failure = ScriptFailure(times=2, code="overloaded", message="busy", after_s=1.5, after_chars=2)
    model = ScriptedModel([ScriptRule(reply="done", failure=failure, piece_chars=1)])
    for attempt in (1, 2):
        heard: list[str] = []
        with pytest.raises(ModelCallError) as failed:
            await model.complete(replace(prompt("x"), attempt=attempt), heard.append)
        found = failed.value.failure
        assert (found.code, found.message, found.retryable) == ("overloaded", "busy", True)
        assert found.after_s == 1.5
        assert heard == ["d", "o"]
    assert (await model.complete(replace(prompt("x"), attempt=3))).full_text == "done"


async def test_a_cap_cuts_the_answer_and_says_so() -> None:
    """A word is a token; a cut answer calls no tools."""
    rule = ScriptRule(reply="one two  three", calls=(ScriptCall(tool="lookup"),))
    asked = prompt("x", tools=[LOOKUP], generation=GenerationOptions(output_token_cap=2))
    answer = await ScriptedModel([rule]).complete(asked)
    assert (answer.full_text, answer.terminal_reason) == ("one two  ", "output_limit")
    assert len(answer.parts) == 1
    whole = prompt("x", tools=[LOOKUP], generation=GenerationOptions(output_token_cap=3))
    assert (await ScriptedModel([rule]).complete(whole)).terminal_reason == "tool_use"


def test_it_needs_no_library_of_any_provider() -> None:
    """Nor does importing the package or its handlers load one."""
    program = """
import asyncio, sys
import effectmq, effectmq.cli
libraries = {"pydantic_ai", "openai", "anthropic", "google.genai", "httpx2"}
assert not libraries & sys.modules.keys(), libraries & sys.modules.keys()
for library in libraries:
    sys.modules[library] = None
from effectmq.protocol.errors import MissingExtraError
app = effectmq.Worker()
app.models({"demo": {"provider": "scripted"}})
print(",".join(app.kinds))
try:
    effectmq.Worker().models({"real": {"provider": "openai", "api_key_env": "PATH"}})
except MissingExtraError as problem:
    print(problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    kinds, sentence = done.stdout.splitlines()
    assert kinds == "sleep,llm_call,direct"
    assert sentence == (
        "the model 'real' (openai) needs a package that is not installed; run: "
        "pip install 'effectmq[llm]'"
    )
