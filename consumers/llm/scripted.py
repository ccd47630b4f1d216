"""
A model that answers by rule: for tests, demonstrations and measurements without a network.

It is deterministic. The same prompt at the same attempt gives the same answer in every process, so
a rule that fails twice does so however many workers share the attempts.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import Template
from typing import Any

from effectmq.consumers.llm.port import CallFailure, ModelCallError, Prompt
from effectmq.consumers.llm.script import ScriptFailure, ScriptRule
from effectmq.protocol.encoding.narrowing import is_object, is_sequence
from effectmq.protocol.wire.llm_request import (
    LlmContentBlock,
    LlmContentBlockText,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
    LlmRequestSpec,
)
from effectmq.protocol.wire.llm_response import (
    LlmOutputPart,
    LlmOutputPartReasoning,
    LlmOutputPartText,
    LlmOutputPartToolCall,
    LlmResponse,
    LlmTerminalReason,
    LlmUsage,
)

__all__ = ["ScriptedModel"]

#: For a message that no rule fits: repeat its text.
_ECHO = ScriptRule(reply="$text")


@dataclass(frozen=True, slots=True)
class _Fit:
    """A rule that fits, with the values of its words."""

    rule: ScriptRule
    words: dict[str, str]

    def fill(self, value: Any) -> Any:
        """The data with the words of its texts filled in; unknown words stay."""
        if isinstance(value, str):
            return Template(value).safe_substitute(self.words)
        if is_object(value):
            return {name: self.fill(item) for name, item in value.items()}
        if is_sequence(value):
            return [self.fill(item) for item in value]
        return value


class ScriptedModel:
    """
    A model that answers by rule.

    Args:
        rules: The first that fits is used; without one, the model repeats the message.
    """

    def __init__(self, rules: Iterable[ScriptRule] = ()) -> None:
        self._rules = (*rules, _ECHO)

    async def complete(
        self, prompt: Prompt, on_text: Callable[[str], None] | None = None
    ) -> LlmResponse:
        """Answer by the first rule that fits."""
        request = prompt.request
        fit = next(fit for rule in self._rules if (fit := _fit(rule, request)))
        rule = fit.rule
        text, whole = _capped(fit.fill(rule.reply), request.generation.output_token_cap)
        failure = rule.failure
        if failure is not None and prompt.attempt <= failure.times:
            await _say(text[: failure.after_chars], rule, on_text)
            raise ModelCallError(_failure(failure))
        await _say(text, rule, on_text)
        parts = list(_parts(fit, text, whole, request))
        return LlmResponse(
            full_text=text,
            parts=parts,
            usage=_usage(request, text),
            terminal_reason=_end(parts, whole),
        )

    async def close(self) -> None:
        """Do nothing: there are no connections."""


def _fit(rule: ScriptRule, request: LlmRequestSpec) -> _Fit | None:
    blocks = request.messages[-1].blocks if request.messages else []
    text = _spoken(blocks)
    found = re.search(rule.when, text)
    if found is None or (rule.after and rule.after not in _answered(blocks, request)):
        return None
    tools = request.tools if request.tool_choice != "None" else []
    if not {call.tool for call in rule.calls} <= {tool.name for tool in tools}:
        return None
    groups = {name: value or "" for name, value in found.groupdict().items()}
    return _Fit(rule, {"text": text, **groups})


def _spoken(blocks: Iterable[LlmContentBlock]) -> str:
    """The content of a message: its text, and the results of tools."""
    said = [
        block.text if isinstance(block, LlmContentBlockText) else block.content
        for block in blocks
        if isinstance(block, LlmContentBlockText | LlmContentBlockToolResult)
    ]
    return "\n".join(said)


def _answered(blocks: Iterable[LlmContentBlock], request: LlmRequestSpec) -> set[str]:
    """The names of the tools that gave these results."""
    names = {call.call_id: call.tool_name for call in _calls(request)}
    results = [block for block in blocks if isinstance(block, LlmContentBlockToolResult)]
    return {block.tool_name or names.get(block.call_id, "") for block in results}


def _calls(request: LlmRequestSpec) -> list[LlmContentBlockToolCall]:
    blocks = [block for message in request.messages for block in message.blocks]
    return [block for block in blocks if isinstance(block, LlmContentBlockToolCall)]


def _capped(text: str, cap: int | None) -> tuple[str, bool]:
    """The text within a cap, where a word counts as a token, and whether it is all of the text."""
    words = re.findall(r"\S+\s*", text)
    return (text, True) if cap is None or len(words) <= cap else ("".join(words[:cap]), False)


async def _say(text: str, rule: ScriptRule, on_text: Callable[[str], None] | None) -> None:
    for start in range(0, len(text), rule.piece_chars):
        # At least one turn of the loop: a provider's text does not arrive in one turn either.
        await asyncio.sleep(rule.pause_s)
        if on_text is not None:
            on_text(text[start : start + rule.piece_chars])


def _failure(failure: ScriptFailure) -> CallFailure:
    return CallFailure(failure.code, failure.message, failure.retryable, failure.after_s)


def _parts(fit: _Fit, text: str, whole: bool, request: LlmRequestSpec) -> Iterable[LlmOutputPart]:
    if fit.rule.reasoning:
        yield LlmOutputPartReasoning(text=fit.fill(fit.rule.reasoning))
    if text:
        yield LlmOutputPartText(text=text)
    first = len(_calls(request)) + 1
    for number, call in enumerate(fit.rule.calls if whole else (), first):
        yield LlmOutputPartToolCall(
            call_id=f"call-{number}",
            tool_name=call.tool,
            input_json=json.dumps(fit.fill(dict(call.arguments)), separators=(",", ":")),
        )


def _end(parts: list[LlmOutputPart], whole: bool) -> LlmTerminalReason:
    if not whole:
        return "output_limit"
    return "tool_use" if any(isinstance(part, LlmOutputPartToolCall) for part in parts) else "stop"


def _usage(request: LlmRequestSpec, text: str) -> LlmUsage:
    asked = sum(len(_spoken(message.blocks).split()) for message in request.messages)
    return LlmUsage(
        input_tokens=asked,
        output_tokens=len(text.split()),
        cached_input_tokens=0,
        reasoning_tokens=0,
    )
