"""What is made of plain values without validation is what the models make, or their error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.broker.client.turns.tool_calls.batch import ToolCall
from effectmq.broker.client.turns.turn import Turn
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.exact import effects
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    CausalRefEffect,
    CausalRefTurn,
    RuntimeInvocation,
    RuntimeScope,
    RuntimeSubjectEffect,
    RuntimeSubjectProcess,
)
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.protocol.exact.both_ways import outcome, state
from tests.protocol.strategies import json_values


class Text(str):
    """Text of a derived class."""


class Scope(RuntimeScope):
    """A scope of a derived class."""


ODD: list[Any] = ["", "s", "é", "\ud800", Text("s"), None, 0, 7, -1, 2**64 - 1, 2**64, True, 1.0]
ODD += [b"s", {}, "tool_call", Text("tool_call"), "no_kind", {"tool_call": None}, object()]

SCOPE = RuntimeScope.for_turn("s", "t", 1, 2)
CAUSE = CausalRefEffect(session_id="s", effect_id="1")


def one_odd(usual: tuple[Any, ...], odd: list[Any]) -> Iterator[tuple[Any, ...]]:
    """The usual arguments, and all with an odd one among them."""
    yield usual
    for at, value in itertools.product(range(len(usual)), odd):
        yield (*usual[:at], value, *usual[at + 1 :])


def test_the_scope_of_a_turn_is_that_of_the_models() -> None:
    """For all sorts of arguments."""
    for arguments in one_odd(("s", "t", 0, 2**64 - 1), ODD):
        found = outcome(lambda given=arguments: effects.turn_scope(*given))
        assert found == outcome(lambda given=arguments: RuntimeScope.for_turn(*given))


def test_the_invocation_of_an_effect_is_that_of_the_models() -> None:
    """For all sorts of arguments."""
    odd = [
        *ODD,
        CAUSE,
        SCOPE,
        Scope(session_id="s"),
        CausalRefTurn(session_id="s", turn_id="t"),
        CausalRefEffect.model_construct(type="turn", session_id="s", effect_id="1"),
        {"type": "turn", "session_id": "s", "turn_id": "t"},
        {"session_id": "s"},
    ]
    for arguments in one_odd((SCOPE, "1", "tool_call", "key", CAUSE), odd):
        found = outcome(lambda given=arguments: effects.effect_invocation(*given))
        assert found == outcome(lambda given=arguments: RuntimeInvocation.effect(*given))


def test_the_cause_of_an_effect_is_that_of_the_models() -> None:
    """Of effects and others, whole and broken ones."""

    class Invocation(RuntimeInvocation):
        """Names itself in another way."""

        def causal_ref(self) -> CausalRefTurn:
            return CausalRefTurn(session_id="s", turn_id="t")

    usual = RuntimeInvocation.effect(SCOPE, "1", "tool_call", "key", CAUSE)
    some = [
        usual,
        Invocation(scope=SCOPE, subject=usual.subject),
        RuntimeInvocation(scope=SCOPE, subject=RuntimeSubjectProcess(process_id="p")),
        RuntimeInvocation(scope=Scope(session_id="s"), subject=usual.subject),
    ]
    for odd in ODD:
        broken = RuntimeScope.model_construct(session_id=odd, turn_id="t")
        some.append(usual.model_copy(update={"scope": broken}))
        broken = RuntimeScope.model_construct(session_id="s", turn_id=odd)
        some.append(usual.model_copy(update={"scope": broken}))
        subject = RuntimeSubjectEffect.model_construct(effect_id=odd, kind="sleep")
        some.append(usual.model_copy(update={"subject": subject}))
    for invocation in some:
        found = outcome(lambda given=invocation: effects.causal_ref(given))
        assert found == outcome(lambda given=invocation: given.causal_ref())


class Strange(dict[str, Any]):
    """A dict that is not as it seems."""

    def __getitem__(self, name: str) -> Any:
        raise LookupError(name)


def test_a_tool_call_is_that_of_the_models() -> None:
    """For all sorts of arguments."""
    odd = [*ODD, {"b": 1, "a": [2.5]}, {1: 2}, {"a": float("nan")}, {"\ud800": 1}, Strange(a=1)]
    for arguments in one_odd(("call-1", "echo", {"text": "x"}), odd):
        found = outcome(lambda given=arguments: effects.prepared_tool_call(*given))
        assert found == outcome(
            lambda given=arguments: PreparedToolCall(
                call_id=given[0], tool_name=given[1], args=given[2]
            )
        )


def test_the_envelope_of_a_tool_call_is_that_of_the_models() -> None:
    """For all sorts of arguments."""

    class Call(PreparedToolCall):
        """A call of a derived class."""

    call = PreparedToolCall(call_id="c", tool_name="n", args={})
    invocation = RuntimeInvocation.effect(SCOPE, "1", "tool_call", "key")
    odd = [*ODD, call, invocation, Call(call_id="c", tool_name="n", args={})]
    for arguments in one_odd((invocation, call), odd):
        found = outcome(lambda given=arguments: effects.tool_call_envelope(*given))
        assert found == outcome(
            lambda given=arguments: RuntimeEffectEnvelope(
                invocation=given[0], command=RuntimeEffectCommandToolCall(call=given[1])
            )
        )


def by_hand(turn: Turn, call: ToolCall, number: int) -> RuntimeEffectEnvelope:
    """The envelope of a turn's tool call, by the models and the words of the contract."""
    where = (turn.session_id, turn.turn_id, turn.turn_index, turn.protocol_iteration)
    key = f"{':'.join(map(str, where))}:tool_call:{number}:{call.call_id}"
    cause = CausalRefEffect(session_id=where[0], turn_id=where[1], effect_id=str(number))
    effect_id = f"{number}:{call.call_id}"
    scope = RuntimeScope.for_turn(*where)
    return RuntimeEffectEnvelope(
        invocation=RuntimeInvocation.effect(scope, effect_id, "tool_call", key, cause),
        command=RuntimeEffectCommandToolCall(
            call=PreparedToolCall(
                call_id=call.call_id, tool_name=call.tool_name, args=dict(call.args)
            )
        ),
    )


async def nothing(envelope: RuntimeEffectEnvelope, **options: Any) -> Any:
    """Carries nothing out."""
    raise NotImplementedError


@settings(max_examples=60)
@given(
    st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=5)] * 4),
    st.lists(st.dictionaries(st.text("aé ", max_size=2), json_values, max_size=3), max_size=3),
)
def test_a_turn_makes_the_envelopes_of_its_tool_calls_as_the_models(
    texts: tuple[str, str, str, str], many: list[Mapping[str, Any]]
) -> None:
    """One, several and none at a time."""
    session_id, turn_id, tool_name, call_id = texts
    turn = Turn(nothing, session_id, turn_id, 3, 2**64 - 1)
    calls = [ToolCall(tool_name, args, f"{call_id}{at}") for at, args in enumerate(many)]
    found = turn.tool_envelopes(calls)
    assert state(found) == state([by_hand(turn, call, 1) for call in calls])


@pytest.mark.parametrize("name", ["session_id", "turn_id", "turn_index", "protocol_iteration"])
def test_what_is_no_turn_is_refused_when_it_makes_an_envelope(name: str) -> None:
    """With the sentence of the models."""
    turn = Turn(nothing, "s", "t", 1, 2)
    setattr(turn, name, -1.5)
    with pytest.raises(MalformedError, match="expected"):
        turn.tool_envelopes([ToolCall("echo", {}, "call-1")])
