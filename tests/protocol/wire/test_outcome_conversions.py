"""What an outcome of one kind holds, and the error when it is of another kind."""

from __future__ import annotations

import pytest

from effectmq.protocol.errors import ProtocolError, WrongOutcomeError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeSleep,
    RuntimeEffectOutcomeToolCall,
    ToolCallEffectOutcome,
)
from tests.protocol.documents import example, examples

#: The kind that each conversion is for.
_KINDS = {
    "into_llm_call": "llm_call",
    "into_direct_response": "direct",
    "into_tool_call": "tool_call",
    "into_tool_call_effect": "tool_call",
    "into_process": "process",
    "into_exec_code": "exec_code",
    "into_checkpoint": "checkpoint",
    "into_sync_execution_surface": "sync_execution_surface",
    "into_sleep": "sleep",
}

_OUTCOMES: list[RuntimeEffectOutcome] = [
    example(label) for label, row in examples().items() if row["type"] == "RuntimeEffectOutcome"
]


def test_there_is_an_outcome_of_each_kind() -> None:
    assert {outcome.kind() for outcome in _OUTCOMES} == set(EFFECT_KINDS) == set(_KINDS.values())


@pytest.mark.parametrize("name", _KINDS)
def test_a_conversion_takes_its_own_kind_only(name: str) -> None:
    """The error has the wire's code, and its message names both kinds."""
    kind = _KINDS[name]
    for outcome in _OUTCOMES:
        convert = getattr(outcome, name)
        if outcome.kind() == kind:
            convert()
            continue
        with pytest.raises(WrongOutcomeError) as refused:
            convert()
        assert isinstance(refused.value, ProtocolError)
        assert refused.value.code == "runtime_effect_wrong_outcome"
        assert refused.value.message == f"expected {kind} outcome, got {outcome.kind()}"


def test_a_conversion_gives_what_the_outcome_holds() -> None:
    """A failure of a provider is a value, as it is on the wire."""
    for outcome in _OUTCOMES:
        match outcome:
            case RuntimeEffectOutcomeLlmCall():
                assert outcome.into_llm_call() == (outcome.result, outcome.text_streamed)
            case RuntimeEffectOutcomeDirect():
                assert outcome.into_direct_response() == outcome.result
            case RuntimeEffectOutcomeToolCall():
                assert outcome.into_tool_call() == outcome.result
                whole = ToolCallEffectOutcome(
                    result=outcome.result, host_events=outcome.host_events
                )
                assert outcome.into_tool_call_effect() == whole
            case RuntimeEffectOutcomeSleep():
                outcome.into_sleep()
            case _:
                name = f"into_{outcome.kind()}"
                assert getattr(outcome, name)() == outcome.result
