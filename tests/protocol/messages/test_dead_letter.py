"""Dead letters: parked with a reason, readable, and the same effect when revived."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.transports.limits import check_message
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import dead_message, read_dead_letter, revived_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.scopes import EffectScopeProcess
from tests.protocol.documents import example

MESSAGE = Request.seal(example("C5"), reply_to="r", traceparent="00-1").message


def parked(message: Message = MESSAGE, **changes: Any) -> Message:
    """A message, parked."""
    facts: dict[str, Any] = {
        "kind": "tool_call",
        "route": "tool_call.slow",
        "reason": "exhausted",
        "code": "effectmq_exhausted",
        "detail": "gave up after 5 attempts: ValueError: no",
        "parked_ms": 1_700_000_000_123,
        "parked_by": "host-1",
    }
    return dead_message(message, **{**facts, **changes})


def test_a_parked_effect_says_what_why_when_and_by_whom() -> None:
    """Everything an operator needs without decoding the body."""
    tried = read_request(MESSAGE).changed({"attempt": 5}).message
    letter = read_dead_letter(parked(tried), "tool_call.exhausted")
    assert letter.effect_id == "2:call-1"
    assert letter.replay_key == "s1:t1:0:0:tool_call:2:call-1"
    assert letter.hash == MESSAGE.headers[names.HASH]
    assert (letter.kind, letter.route) == ("tool_call", "tool_call.slow")
    assert (letter.reason, letter.code) == ("exhausted", "effectmq_exhausted")
    assert letter.detail == "gave up after 5 attempts: ValueError: no"
    assert letter.attempts == 5
    assert (letter.parked_ms, letter.parked_by) == (1_700_000_000_123, "host-1")
    assert letter.edited_from == ""
    assert letter.message.body == MESSAGE.body
    assert letter.message.reply_to == "r"
    assert letter.message.message_id == ""


def test_a_raw_message_is_readable_without_any_header() -> None:
    """What the broker moved here by itself is told from what we parked."""
    letter = read_dead_letter(Message(body=b"\xc1", correlation_id="e"), "exec_code.gpu")
    assert (letter.kind, letter.route, letter.reason) == ("exec_code", "exec_code.gpu", "raw")
    assert "broker" in letter.detail
    assert (letter.effect_id, letter.hash, letter.code) == ("e", "", "")
    assert (letter.attempts, letter.parked_ms) == (0, 0)


def test_headers_of_the_wrong_type_are_empty() -> None:
    """Nothing is refused: a letter that cannot be read could not be taken away either."""
    wrong: dict[str, Any] = {
        names.HASH: 1,
        names.KIND: True,
        names.ATTEMPT: "x",
        names.PARKED_AT: True,
    }
    letter = read_dead_letter(Message(body=b"", headers=wrong), "sleep")
    assert (letter.hash, letter.kind, letter.attempts, letter.parked_ms) == ("", "sleep", 0, 0)


def test_a_revived_effect_is_the_same_effect_from_the_start() -> None:
    """Hash, key and scope stay; attempts, waits, crashes and the deadline are forgotten."""
    sealed = Request.seal(example("C5"), deadline_ms=5, scope=EffectScopeProcess(process_id="p"))
    spent = sealed.changed({"attempt": 5, "first_seen": 1, "due": 9, "crashes": 2})
    letter = read_dead_letter(parked(spent.message), "tool_call.exhausted")
    revived = revived_message(letter)
    assert set(revived.headers) == {names.HASH, names.REPLAY_KEY, names.SCOPE}
    again = read_request(replace(revived, headers=dict(revived.headers)))
    assert again.identity == sealed.identity
    assert again.hash == sealed.hash
    assert (again.attempt, again.first_seen_ms, again.deadline_ms, again.due_ms) == (1, 0, 0, 0)
    assert again.crashes == 0


def test_the_lineage_of_an_edited_effect_survives() -> None:
    """An edited envelope has another hash, and remembers the one it was made from."""
    edited = replace(MESSAGE, headers={**MESSAGE.headers, names.EDITED_FROM: "e" * 64})
    letter = read_dead_letter(parked(edited), "tool_call.rejected")
    assert letter.edited_from == "e" * 64
    assert revived_message(letter).headers[names.EDITED_FROM] == "e" * 64


def test_a_long_scope_survives_parking() -> None:
    """Cutting a scope would make another identity of it, or none."""
    scope = EffectScopeProcess(process_id="p" * 1_900)
    sealed = Request.seal(example("C5"), scope=scope)
    revived = revived_message(read_dead_letter(parked(sealed.message), "tool_call"))
    assert read_request(revived).identity == sealed.identity


@pytest.mark.parametrize("filling", ["x", "é", "日", "🙂", "\x00", "\U000e0001"])
def test_whatever_a_stranger_sent_can_be_parked(filling: str) -> None:
    """A message that cannot be published again would be the one that cannot even be parked."""
    ours = [getattr(names, name) for name in names.__all__ if name.isupper()]
    headers = {name: filling * 7_000 for name in ours if isinstance(name, str)}
    headers |= {f"effect-{n}": filling * 1_000 for n in range(100)}
    letter = parked(
        replace(MESSAGE, headers=headers),
        code=filling * 5_000,
        detail=filling * 50_000,
        parked_by=filling * 5_000,
    )
    check_message(letter, 1024 * 1024)
    assert read_dead_letter(letter, "tool_call.malformed").reason == "exhausted"


def test_reason_code_and_detail_are_made_printable() -> None:
    """They end up in tables on terminals."""
    letter = read_dead_letter(parked(code="a\nb", detail="x\x1b[31m", parked_by="h\r"), "k")
    assert (letter.code, letter.detail, letter.parked_by) == ("a\\nb", "x\\x1b[31m", "h\\r")
