"""Outcomes on their way back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.encoding.codec import JSON, MSGPACK, Limits, decode_tree, encode_tree
from effectmq.protocol.errors import MalformedError, ProtocolError, UnsupportedVersionError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import (
    OUTCOME_TYPE,
    Reply,
    encode_reply,
    join_replies,
    read_replies,
)
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcomeSleep
from effectmq.protocol.wire.tools import ToolCallOutcomeSuccess, ToolCallOutput
from tests.protocol.documents import example, examples

OUTCOMES = sorted(
    label for label, found in examples().items() if found["type"] == "RuntimeEffectOutcome"
)
SLEPT = Reply("1", "k", "h", RuntimeEffectOutcomeSleep())
FAILED = Reply("2", "k2", "h2", RuntimeEffectControllerError(code="c", message="m"), attempt=3)


def message(replies: list[Reply], content_type: str = MSGPACK) -> Message:
    """As a worker would publish them."""
    body = join_replies([encode_reply(reply, content_type) for reply in replies], content_type)
    return Message(body=body, content_type=content_type, type=OUTCOME_TYPE)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("label", OUTCOMES)
def test_every_outcome_comes_back_as_it_was(label: str, content_type: str) -> None:
    """Outcomes are byte-compatible in both encodings."""
    reply = Reply("1", "k", "h", example(label), attempt=2, replayed=True)
    assert read_replies(message([reply], content_type)) == [reply]


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_an_error_takes_the_place_of_the_outcome(content_type: str) -> None:
    """``result`` is ``Ok`` or ``Err``, never both."""
    assert read_replies(message([SLEPT, FAILED], content_type)) == [SLEPT, FAILED]
    assert SLEPT.tree()["result"] == {"Ok": {"type": "sleep"}}
    assert FAILED.tree()["result"] == {"Err": {"code": "c", "message": "m"}}


def test_the_members_stand_in_the_order_of_the_wire() -> None:
    """Producers in other languages may compare bytes."""
    assert encode_reply(FAILED, JSON) == (
        b'{"effect_id":"2","replay_key":"k2","hash":"h2","attempt":3,"replayed":false,'
        b'"result":{"Err":{"code":"c","message":"m"}}}'
    )


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 1_000])
@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_any_number_of_answers_joins_into_one_list(count: int, content_type: str) -> None:
    """MessagePack writes short and long lists differently."""
    answers = [Reply(str(n), "k", "h", RuntimeEffectOutcomeSleep()) for n in range(count)]
    assert read_replies(message(answers, content_type)) == answers


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_an_empty_type_and_an_empty_content_type_are_forgiven(content_type: str) -> None:
    """A foreign worker may leave both out."""
    body = message([SLEPT], content_type).body
    assert read_replies(Message(body=body, content_type="")) == [SLEPT]


def test_attempt_and_replayed_have_defaults() -> None:
    """Only what identifies and answers is required."""
    fields = {key: SLEPT.tree()[key] for key in ("effect_id", "replay_key", "hash", "result")}
    body = encode_tree([fields], JSON)
    assert read_replies(Message(body=body, content_type=JSON)) == [SLEPT]


def test_another_version_is_unsupported() -> None:
    """An envelope on the reply queue is no outcome."""
    with pytest.raises(UnsupportedVersionError) as refused:
        read_replies(Message(body=b"", type="effect.envelope.v1"))
    assert refused.value.expected == OUTCOME_TYPE == "effect.outcome.v1"


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({}, ""),
        ([], ""),
        (None, ""),
        ([1], "[0]"),
        ([SLEPT.tree(), {}], "[1].effect_id"),
        ([{**SLEPT.tree(), "effect_id": 1}], "[0].effect_id"),
        ([{**SLEPT.tree(), "replay_key": None}], "[0].replay_key"),
        ([{**SLEPT.tree(), "hash": []}], "[0].hash"),
        ([{**SLEPT.tree(), "attempt": True}], "[0].attempt"),
        ([{**SLEPT.tree(), "attempt": "1"}], "[0].attempt"),
        ([{**SLEPT.tree(), "result": None}], "[0].result"),
        ([{**SLEPT.tree(), "result": {}}], "[0].result"),
        ([{**SLEPT.tree(), "result": {"Ok": 1, "Err": 1}}], "[0].result"),
        ([{**SLEPT.tree(), "result": {"ok": 1}}], "[0].result"),
    ],
)
def test_what_is_no_list_of_answers_is_malformed_with_its_path(tree: Any, path: str) -> None:
    """Anybody with access to the default exchange can write to a reply queue."""
    with pytest.raises(MalformedError) as refused:
        read_replies(Message(body=encode_tree(tree, JSON), content_type=JSON))
    assert refused.value.path == path


@pytest.mark.parametrize("result", [{"Ok": {"type": "nap"}}, {"Err": {"code": 1}}, {"Ok": None}])
def test_an_outcome_that_is_none_is_malformed(result: Any) -> None:
    """The types of the wire are read strictly here, too."""
    tree = [{**SLEPT.tree(), "result": result}]
    with pytest.raises(MalformedError):
        read_replies(Message(body=encode_tree(tree, JSON), content_type=JSON))


def test_an_outcome_that_cannot_be_written_is_malformed() -> None:
    """A value that was put together without validation is found before anything is sent."""
    broken = RuntimeEffectControllerError.model_construct(code="c", message=object())
    with pytest.raises(MalformedError):
        encode_reply(Reply("1", "k", "h", broken), MSGPACK)


def test_limits_hold_for_replies() -> None:
    """A reply queue is as hostile as a work queue."""
    body = message([SLEPT]).body
    with pytest.raises(MalformedError):
        read_replies(Message(body=body), Limits(max_body_bytes=len(body) - 1))
    read_replies(Message(body=body), Limits(max_body_bytes=len(body)))


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20), st.sampled_from([MSGPACK, JSON]))
def test_joining_is_encoding_the_list(ids: list[str], content_type: str) -> None:
    """Joined bytes decode to the list of the trees, for any ids."""
    answers = [Reply(name, name, name, RuntimeEffectOutcomeSleep()) for name in ids]
    assert decode_tree(message(answers, content_type).body, content_type) == [
        answer.tree() for answer in answers
    ]


@given(st.binary(max_size=200), st.sampled_from([MSGPACK, JSON, "", "x"]))
def test_hostile_bytes_end_as_a_protocol_error(body: bytes, content_type: str) -> None:
    """Whatever arrives, reading it raises one of ours or nothing."""
    with pytest.raises(ProtocolError):
        read_replies(Message(body=body, content_type=content_type))


def nested(depth: int) -> Reply:
    """An outcome with a value of so many levels in it."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return with_value(value)


def elements(tree: Any) -> int:
    """Values and keys, as the limit counts them."""
    if isinstance(tree, dict):
        return 1 + sum(1 + elements(value) for value in tree.values())
    return 1 + sum(map(elements, tree)) if isinstance(tree, list) else 1


def with_value(value: Any) -> Reply:
    """The outcome of a tool that returned this."""
    outcome = example("O4")
    success = ToolCallOutcomeSuccess(payload=value)
    result = outcome.result.model_copy(update={"output": ToolCallOutput(outcome=success)})
    return Reply("1", "k", "h", outcome.model_copy(update={"result": result}))


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_what_can_be_encoded_can_be_read_back_to_the_last_level_and_element(
    content_type: str,
) -> None:
    """The list around the answers counts, too: an outcome must not be lost to its last brackets."""
    around = elements(with_value([]).tree()) + 1
    for taken, refused in [
        (nested(57), nested(58)),
        (with_value([0] * (100_000 - around)), with_value([0] * (100_001 - around))),
    ]:
        assert len(read_replies(message([taken], content_type))) == 1
        with pytest.raises(MalformedError):
            message([refused], content_type)


@pytest.mark.parametrize("count", [65_535, 65_536])
def test_very_long_lists_have_a_header_of_their_own(count: int) -> None:
    """MessagePack has three of them."""
    body = join_replies([b"\xc0"] * count, MSGPACK)
    header = b"\xdc" + count.to_bytes(2, "big") if count < 65_536 else b"\xdd\x00\x01\x00\x00"
    assert body == header + b"\xc0" * count
