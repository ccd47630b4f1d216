"""What is inside a dead letter, and what leaves with an export."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.client.turns.turn import ToolCall, Turn
from effectmq.broker.dead_letters.content import MASK, dead_record, read_content
from effectmq.broker.dead_letters.edit import edit_letter
from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.encoding.codec import JSON, encode_tree
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.messages.dead_letter import DeadLetter, dead_message, read_dead_letter
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import OUTCOME_TYPE
from effectmq.protocol.messages.request import ENVELOPE_TYPE, Request

ARGS = {
    "amount": 5,
    "card": "4111-1111",
    "user": {"mail": "ada@example.org", "name": "Ada"},
    "items": [{"key": "k-0001", "n": 1}, {"key": "k-0002", "n": 2}],
}


async def _nobody(envelope: object, *, timeout: float) -> Any:
    raise AssertionError("nothing is executed here")


def parked(detail: str = "gave up", reply_to: str = "me") -> DeadLetter:
    """A parked tool call."""
    call = ToolCall("pay", ARGS, "call")
    [envelope] = Turn(_nobody, "s", "t").tool_envelopes([call])
    request = Request.seal(envelope, reply_to=reply_to)
    message = dead_message(
        request.message,
        kind="tool_call",
        route="tool_call",
        reason="exhausted",
        code="effectmq_exhausted",
        detail=detail,
        parked_ms=1_000,
        parked_by="w",
    )
    return read_dead_letter(message, "tool_call.exhausted")


def raw(body: bytes, content_type: str = "application/json") -> DeadLetter:
    """What the broker moved by itself."""
    return read_dead_letter(Message(body=body, content_type=content_type), "tool_call")


def args_of(record: dict[str, Any]) -> Any:
    """The arguments in a record."""
    return record["envelope"]["command"]["call"]["args"]


def test_an_envelope_is_decoded_and_ready_to_replay() -> None:
    """Its tree is the canonical one, and its request is the one that a replay sends."""
    letter = parked()
    content = read_content(letter)
    assert (content.form, content.problem) == ("envelope", "")
    assert content.request is not None
    assert content.tree == to_tree(content.request.envelope)
    assert content.request.hash == letter.hash


def test_a_tampered_envelope_can_still_be_read() -> None:
    """It is an envelope, and there is a reason not to replay it."""
    letter = parked()
    headers = {**letter.message.headers, "effect-hash": "0" * 64}
    content = read_content(replace(letter, message=replace(letter.message, headers=headers)))
    assert (content.form, content.request) == ("envelope", None)
    assert "0000" in content.problem


def test_json_that_is_no_envelope_is_shown_as_it_is() -> None:
    """Members that an envelope does not have are what one wants to see."""
    content = read_content(raw(b'{"a":[1]}'))
    assert (content.form, content.tree) == ("json", {"a": [1]})
    assert content.problem == "invocation: the member is missing"


def test_bytes_are_exported_as_base64() -> None:
    """Nothing is lost, whatever it is."""
    record, _ = dead_record(raw(b"\xc1\x00"), read_content(raw(b"\xc1\x00")))
    assert (record["form"], record["envelope"]) == ("bytes", None)
    assert b64decode(record["body_base64"]) == b"\xc1\x00"


def test_every_record_has_the_same_members() -> None:
    """Scripts can rely on them; a readable body is not there twice."""
    records = [
        dead_record(letter, read_content(letter))[0]
        for letter in (parked(), raw(b'{"a":1}'), raw(b"\xc1"))
    ]
    assert len({tuple(record) for record in records}) == 1
    assert records[0]["body_base64"] is None
    assert records[0]["body_sha256"] == sha256_hex(parked().message.body)
    assert records[0]["reply_to"] == "me"


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("card", {**ARGS, "card": MASK}),
        ("amount", {**ARGS, "amount": MASK}),
        ("user.mail", {**ARGS, "user": {"mail": MASK, "name": "Ada"}}),
        ("user", {**ARGS, "user": MASK}),
        ("items", {**ARGS, "items": MASK}),
        ("items.*.key", {**ARGS, "items": [{"key": MASK, "n": 1}, {"key": MASK, "n": 2}]}),
        ("items.1.key", {**ARGS, "items": [ARGS["items"][0], {"key": MASK, "n": 2}]}),  # type: ignore[index]
        ("command.call.args.card", {**ARGS, "card": MASK}),
    ],
)
def test_what_a_path_leads_to_is_masked(path: str, masked: dict[str, Any]) -> None:
    """From the arguments, or from the envelope; a star is any member or item."""
    letter = parked()
    record, found = dead_record(letter, read_content(letter), redact=[path])
    assert args_of(record) == masked
    assert found == {path}
    assert record["redacted"] == [path]


def test_a_path_that_leads_nowhere_is_noticed() -> None:
    """A misspelt field must not pass for a masked one."""
    letter = parked()
    record, found = dead_record(letter, read_content(letter), redact=["cart", "card.number"])
    assert (found, args_of(record)) == (set(), ARGS)


def test_a_masked_value_is_masked_in_the_error_too() -> None:
    """Errors like to repeat the argument that they are about; short words are left alone."""
    letter = parked("card 4111-1111 of Ada (ada@example.org) was refused")
    record, _ = dead_record(letter, read_content(letter), redact=["card", "user"])
    assert record["detail"] == "card *** of Ada (***) was refused"


@pytest.mark.parametrize("body", [b'{"password":"hunter2"}', b"\xc1 hunter2"])
def test_with_masks_a_body_that_is_no_envelope_is_left_out(body: bytes) -> None:
    """Nobody can tell where in it a secret is."""
    record, _ = dead_record(raw(body), read_content(raw(body)), redact=["password"])
    assert "hunter2" not in str(record)
    assert record["body_bytes"] == len(body)


def test_masking_changes_nothing_of_the_letter() -> None:
    """What was exported masked can still be replayed whole."""
    letter = parked()
    content = read_content(letter)
    dead_record(letter, content, redact=["card", "items.*.key"])
    again = read_content(letter)
    assert content.tree == again.tree
    assert args_of({"envelope": again.tree}) == ARGS


def test_a_strangers_envelope_under_the_type_of_outcomes_is_no_outcome() -> None:
    """It was parked as unsupported, and is mended like any other."""
    letter = parked()
    astray = replace(letter, message=replace(letter.message, type=OUTCOME_TYPE))
    content = read_content(astray)
    assert (astray.is_outcome, content.form) == (False, "envelope")
    assert content.problem
    edited = edit_letter(astray, encode_tree(content.tree, JSON))
    assert edited.request.message.type == ENVELOPE_TYPE
    assert edited.request.hash == letter.hash


@pytest.mark.parametrize("body", [b"[]", b"\x90", b"\xdc\x00\x00"])
def test_an_outcome_says_where_it_wants_to_go(body: bytes) -> None:
    """A list under the type of outcomes that names no receiver cannot be delivered."""
    message = Message(body=body, type=OUTCOME_TYPE)
    kept = [read_dead_letter(replace(message, reply_to=to), "tool_call") for to in ("", "me")]
    assert [letter.is_outcome for letter in kept] == [False, True]
