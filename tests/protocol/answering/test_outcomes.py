"""Outcomes that somebody else gives, the token for it, and who is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from effectmq.protocol.answering.asker import asked_again, asker_json
from effectmq.protocol.answering.outcomes import Ending, answered, refused, unanswered
from effectmq.protocol.answering.tokens import checked_token, token_hash, token_of
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, MSGPACK
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import AnswerMisfitError, ConfigurationError
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.scopes import EffectScopeProcess
from tests.consumers.stage import code, tool

TOOL = tool("refund", amount=3)
NUMBER = {"type": "integer"}


def told(ending: Ending) -> tuple[Any, Any]:
    """Outcome and error as data."""
    return (
        json.loads(ending.outcome_json) if ending.outcome_json else None,
        json.loads(ending.error_json) if ending.error_json else None,
    )


def test_a_value_becomes_what_the_tool_would_have_given() -> None:
    """With the text for the model."""
    outcome, error = told(answered(TOOL, NUMBER, 7))
    assert error is None
    assert outcome["type"] == "tool_call"
    result = outcome["result"]
    assert result["tool_name"] == "refund"
    assert result["args"] == {"amount": 3}
    assert result["output"]["outcome"] == {"status": "success", "payload": 7}
    assert result["model_return"]["parts"] == [{"type": "text", "text": "7"}]


def test_the_same_answer_is_the_same_outcome() -> None:
    """Byte for byte, so that it may be given twice."""
    assert answered(TOOL, {}, {"b": 1, "a": (2,)}) == answered(TOOL, {}, {"a": [2], "b": 1})


def test_a_value_of_another_type_is_refused() -> None:
    """With the sentence about it, and the tool's name."""
    with pytest.raises(AnswerMisfitError, match=r"expected integer; .* the tool refund returns"):
        answered(TOOL, NUMBER, "7")
    with pytest.raises(AnswerMisfitError, match="cannot be sent"):
        answered(TOOL, {}, {1, 2})


def test_a_refusal_and_a_deadline_are_failures_of_the_tool() -> None:
    """An agent reads them as it reads any other failure."""
    outcome, error = told(refused(TOOL, "not this time", "no_budget"))
    assert error == {"code": "no_budget", "message": "not this time"}
    failure = outcome["result"]["output"]["outcome"]["payload"]
    assert (failure["class"], failure["code"]) == ("permission_denied", "no_budget")
    outcome, error = told(unanswered(TOOL, 1.5))
    assert error["code"] == "effectmq_unanswered"
    assert "within 1.5 s" in error["message"]
    assert outcome["result"]["output"]["outcome"]["payload"]["class"] == "timeout"
    assert told(refused(TOOL, "no"))[1]["code"] == "effectmq_answer_refused"


def test_another_kind_is_answered_with_its_outcome() -> None:
    """And refused with a controller error, because it has no failure of its own."""
    given = {"type": "exec_code", "result": {"Err": "done by hand"}}
    outcome, _ = told(answered(code("x"), {}, given))
    assert outcome == given
    for wrong, why in ((7, "no outcome of exec_code"), ({"type": "sleep"}, "expected one of")):
        with pytest.raises(AnswerMisfitError, match=why):
            answered(code("x"), {}, wrong)
    assert told(refused(code("x"), "no")) == (
        None,
        {"code": "effectmq_answer_refused", "message": "no"},
    )
    assert told(unanswered(code("x"), 60))[0] is None


def test_a_token_says_what_it_is_and_is_kept_as_its_hash() -> None:
    """What is none is refused, and not shown."""
    token = token_of(bytes(range(32)))
    assert checked_token(token) == token
    assert token not in token_hash(token)
    assert token_hash(token) != token_hash(token_of(bytes(32)))
    for wrong in ("", "eqa_12", f"{token}0", token.upper(), f" {token}"):
        with pytest.raises(ConfigurationError) as refusal:
            checked_token(wrong)
        assert not wrong or wrong not in str(refusal.value)


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize("envelope", [TOOL, code("1 + 1")], ids=["tool", "code"])
def test_an_effect_is_asked_for_again_as_it_was(
    content_type: str, envelope: RuntimeEffectEnvelope
) -> None:
    """The same effect, in the same encoding, for the same reply queue."""
    scope = EffectScopeProcess(process_id="p1")
    sealed = Request.seal(
        envelope, reply_to="r", content_type=content_type, scope=scope, traceparent="00-t-s-01"
    )
    kept = asker_json("tool_call.gpu", sealed.message)
    again = asked_again(kept, canonical_json(to_tree(envelope)).decode(), Limits())
    assert again is not None
    assert again.route == "tool_call.gpu"
    assert again.message.body == sealed.message.body
    read = read_request(again.message)
    assert (read.identity, read.hash) == (sealed.identity, sealed.hash)
    assert (again.message.reply_to, again.message.headers) == ("r", sealed.message.headers)


def test_nobody_is_told_where_nobody_asked() -> None:
    """Or where the body is elsewhere: the message that goes round has it."""
    assert asker_json("tool_call", Request.seal(TOOL).message) == ""
    assert asked_again("", "{}", Limits()) is None
