"""Sealing an envelope into a message, and reading what a stranger sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.encoding.codec import JSON, MSGPACK, Limits, encode_tree
from effectmq.protocol.encoding.serde.model import canonical_bytes, stable_hash, to_tree
from effectmq.protocol.errors import (
    HashMismatchError,
    InvalidEnvelopeError,
    MalformedError,
    PayloadTooLargeError,
    ProtocolError,
    UnsupportedVersionError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import (
    ENVELOPE_TYPE,
    Identity,
    Request,
    correlation,
    known_sha256,
    read_request,
)
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.scopes import EffectScopeCron, EffectScopeProcess
from tests.protocol.documents import example, examples

ENVELOPES = sorted(
    label for label, found in examples().items() if found["type"] == "RuntimeEffectEnvelope"
)


def sleep_envelope(
    effect_id: str = "1",
    key: str | None = "s1:k",
    *,
    session_id: str = "s1",
    turn_id: str | None = "t1",
    kind: Any = "sleep",
) -> RuntimeEffectEnvelope:
    """A small envelope, whose parts a test may want to break."""
    return RuntimeEffectEnvelope(
        invocation=RuntimeInvocation(
            scope=RuntimeScope(session_id=session_id, turn_id=turn_id),
            subject=RuntimeSubjectEffect(effect_id=effect_id, kind=kind),
            replay=RuntimeReplay(key=key) if key is not None else None,
        ),
        command=RuntimeEffectCommandSleep(duration_ms=1),
    )


def raw(envelope: RuntimeEffectEnvelope, content_type: str = MSGPACK, **changes: Any) -> Message:
    """An envelope as a producer without any of our headers would publish it."""
    body = encode_tree(to_tree(envelope), content_type)
    return Message(body=body, content_type=content_type, **changes)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("label", ENVELOPES)
def test_the_canonical_form_of_a_sealed_envelope_comes_from_its_body(
    label: str, content_type: str
) -> None:
    """It is not kept, and is what the hash is of; also in a copy with other counts."""
    envelope = example(label)
    sealed = Request.seal(envelope, content_type=content_type)
    assert sealed.canonical == sealed.changed({"attempt": 2}).canonical == canonical_bytes(envelope)
    assert read_request(sealed.message).canonical == sealed.canonical


def test_the_canonical_form_of_a_large_sealed_envelope_comes_from_its_body() -> None:
    """A body may be as large as the producer allows."""
    envelope = sleep_envelope(key="k" * 2_000_000)
    sealed = Request.seal(envelope, limits=Limits(max_body_bytes=4_000_000))
    assert sealed.canonical == canonical_bytes(envelope)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("label", ENVELOPES)
def test_a_sealed_envelope_is_read_back_as_the_same_effect(label: str, content_type: str) -> None:
    """What a worker reads is what the producer sealed, with the hash that the contract records."""
    envelope = example(label)
    sealed = Request.seal(envelope, reply_to="r", content_type=content_type)
    found = read_request(sealed.message)
    assert found.envelope == envelope
    assert found.hash == sealed.hash == examples()[label]["sha256"]
    assert (found.kind, found.effect_id) == (sealed.kind, sealed.effect_id)
    assert found.identity == sealed.identity
    assert found.replay_key == envelope.invocation.replay.key
    assert (found.attempt, found.first_seen_ms, found.crashes) == (1, 0, 0)


def test_a_sealed_message_has_the_properties_of_the_wire() -> None:
    """Type, correlation id, reply queue and hash are what others look for."""
    sealed = Request.seal(
        sleep_envelope(),
        reply_to="effects.reply.p",
        timestamp_s=12,
        deadline_ms=99,
        traceparent="00-ab",
    )
    message = sealed.message
    assert message.type == ENVELOPE_TYPE == "effect.envelope.v1"
    assert message.content_type == "application/msgpack"
    assert message.correlation_id == "1"
    assert message.reply_to == "effects.reply.p"
    assert message.timestamp == 12
    assert message.message_id == "", "never derived from the content"
    assert message.headers[names.HASH] == stable_hash(sleep_envelope())
    assert message.headers[names.REPLAY_KEY] == "s1:k"
    assert message.headers[names.DEADLINE] == 99
    assert message.headers[names.TRACEPARENT] == "00-ab"
    assert names.SCOPE not in message.headers
    assert read_request(message).deadline_ms == sealed.deadline_ms == 99


BROKEN = [
    (sleep_envelope(effect_id=" \u3000"), "runtime_effect_invocation_subject"),
    (sleep_envelope(kind="direct"), "runtime_effect_invocation_kind"),
    (sleep_envelope(key=None), "runtime_effect_replay_required"),
    (sleep_envelope(key=""), "runtime_effect_replay_required"),
]


@pytest.mark.parametrize(("envelope", "code"), BROKEN)
def test_an_envelope_that_breaks_a_rule_is_neither_sealed_nor_read(
    envelope: RuntimeEffectEnvelope, code: str
) -> None:
    """Both sides apply the same rules, with the contract's codes."""
    with pytest.raises(InvalidEnvelopeError) as sealing:
        Request.seal(envelope)
    with pytest.raises(InvalidEnvelopeError) as reading:
        read_request(raw(envelope))
    assert sealing.value.code == reading.value.code == code


def test_the_size_cap_is_exact() -> None:
    """A body of exactly the limit passes, one byte more does not, before anything is sent."""
    size = len(Request.seal(sleep_envelope()).message.body)
    Request.seal(sleep_envelope(), limits=Limits(max_body_bytes=size))
    with pytest.raises(PayloadTooLargeError) as refused:
        Request.seal(sleep_envelope(), limits=Limits(max_body_bytes=size - 1))
    assert (refused.value.size_bytes, refused.value.limit_bytes) == (size, size - 1)


# Foreign producers -------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("type_", ["", ENVELOPE_TYPE])
def test_a_producer_needs_no_header(content_type: str, type_: str) -> None:
    """What is missing is derived from the body."""
    found = read_request(raw(sleep_envelope(), content_type, type=type_))
    assert found.hash == stable_hash(sleep_envelope())
    assert found.identity == Identity("t1", "s1:k")
    assert (found.attempt, found.deadline_ms, found.due_ms, found.crashes) == (1, 0, 0, 0)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_an_envelope_without_a_content_type_is_recognised(content_type: str) -> None:
    """Several AMQP libraries send none unless they are told to."""
    message = replace(raw(sleep_envelope(), content_type), content_type="")
    assert read_request(message).envelope == sleep_envelope()


@pytest.mark.parametrize(("said", "sent"), [(JSON, MSGPACK), (MSGPACK, JSON), ("text/json", JSON)])
def test_a_content_type_that_is_wrong_is_not_corrected(said: str, sent: str) -> None:
    """Who says what it sends is taken at its word."""
    with pytest.raises(MalformedError):
        read_request(replace(raw(sleep_envelope(), sent), content_type=said))


def test_an_effect_outside_of_a_turn_has_its_session_as_scope() -> None:
    """The derived effect scope is ``runtime_operation`` with the session id."""
    assert read_request(raw(sleep_envelope(turn_id=None))).identity.scope_id == "s1"
    assert Request.seal(sleep_envelope(turn_id=None)).identity.scope_id == "s1"


def test_member_order_and_unknown_members_do_not_change_an_effect() -> None:
    """The hash is that of the canonical form, not that of the bytes."""
    tree = to_tree(sleep_envelope())
    shuffled = {"zz": 1, "command": tree["command"], "invocation": tree["invocation"]}
    found = read_request(
        Message(
            body=encode_tree(shuffled, JSON),
            content_type=JSON,
            headers={names.HASH: stable_hash(sleep_envelope())},
        )
    )
    assert found.hash == stable_hash(sleep_envelope())


def test_a_hash_that_was_sent_is_checked() -> None:
    """The error names both hashes."""
    message = raw(sleep_envelope(), headers={names.HASH: "0" * 64})
    with pytest.raises(HashMismatchError) as refused:
        read_request(message)
    assert refused.value.claimed == "0" * 64
    assert refused.value.actual == stable_hash(sleep_envelope())


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("label", ENVELOPES)
def test_an_envelope_that_will_be_stored_is_its_canonical_text(
    label: str, content_type: str
) -> None:
    """One hash names the effect and its body; whoever has hashed the body need not do it again."""
    envelope = example(label)
    sealed = Request.seal(envelope, content_type=content_type, stored_above=1)
    body = sealed.message.body
    assert body == sealed.canonical == canonical_bytes(envelope)
    assert sealed.message.content_type == JSON
    assert known_sha256(sealed.message) == sealed.hash == sha256_hex(body)
    for known in ("", sha256_hex(body)):
        found = read_request(sealed.message, body_sha256=known)
        assert (found.envelope, found.hash) == (envelope, sealed.hash)
        assert found.canonical == body


def test_only_an_envelope_that_will_be_stored_changes_its_content_type() -> None:
    """To the byte; and not when its text would be too large, which the other form may not be."""
    envelope = sleep_envelope(key="\x00" * 3_000)
    size = len(canonical_bytes(envelope))
    assert size > 6 * 3_000
    for above, most, expected in (
        (0, size, MSGPACK),
        (size, size, MSGPACK),
        (size - 1, size, JSON),
        (size - 1, size - 1, MSGPACK),
    ):
        limits = Limits(max_body_bytes=most)
        sealed = Request.seal(envelope, stored_above=above, limits=limits)
        assert sealed.message.content_type == expected
        assert (known_sha256(sealed.message) != "") == (expected == JSON)
        assert read_request(sealed.message, limits).hash == sealed.hash


def test_a_text_that_was_hashed_is_the_effect_only_when_it_is_canonical() -> None:
    """Another text of the same effect has another hash, and that is not the effect's."""
    tree = to_tree(sleep_envelope())
    shuffled = {"command": tree["command"], "invocation": tree["invocation"]}
    for body in (encode_tree(shuffled, JSON), canonical_bytes(sleep_envelope()) + b"\n"):
        known = sha256_hex(body)
        found = read_request(Message(body=body, content_type=JSON), body_sha256=known)
        assert found.hash == stable_hash(sleep_envelope()) != known
        claimed = Message(body=body, content_type=JSON, headers={names.HASH: known})
        with pytest.raises(HashMismatchError):
            read_request(claimed, body_sha256=known)


def test_another_version_is_unsupported_before_anything_is_read() -> None:
    """A newer producer may have changed everything about the body."""
    with pytest.raises(UnsupportedVersionError) as refused:
        read_request(Message(body=b"\xc1", type="effect.envelope.v2"))
    assert (refused.value.found, refused.value.expected) == ("effect.envelope.v2", ENVELOPE_TYPE)


@pytest.mark.parametrize(
    "message",
    [
        Message(body=b""),
        Message(body=b"\xc1"),
        Message(body=b"[]", content_type=JSON),
        Message(body=b"{}", content_type="text/plain"),
        Message(body=b'{"invocation":1}', content_type=JSON),
        replace(raw(sleep_envelope()), body=raw(sleep_envelope()).body[:-1]),
        replace(raw(sleep_envelope()), body=raw(sleep_envelope()).body + b"\x00"),
    ],
)
def test_bytes_that_are_no_envelope_are_malformed(message: Message) -> None:
    """Empty, cut off, padded, another shape, another encoding: one error."""
    with pytest.raises(MalformedError):
        read_request(message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.HASH, 7),
        (names.SCOPE, True),
        (names.REPLAY_KEY, 7),
        (names.TRACEPARENT, 7),
        (names.ATTEMPT, "2"),
        (names.ATTEMPT, -1),
        (names.ATTEMPT, True),
        (names.FIRST_SEEN, "now"),
        (names.DEADLINE, "soon"),
        (names.DUE, -5),
        (names.CRASHES, "many"),
        (names.SCOPE, "not json"),
        (names.SCOPE, "{}"),
        (names.SCOPE, '{"type":"process"}'),
        (names.SCOPE, '{"type":"process","process_id":' + '"' + "x" * 4_000 + '"}'),
    ],
)
def test_a_header_of_ours_that_is_wrong_is_malformed_and_named(name: str, value: Any) -> None:
    """What is present is checked, never ignored, and the error says which header it was."""
    with pytest.raises(MalformedError) as refused:
        read_request(raw(sleep_envelope(), headers={name: value}))
    assert name in str(refused.value)


@given(body=st.binary(max_size=200), content_type=st.sampled_from([MSGPACK, JSON, "", "x"]))
def test_hostile_bytes_end_as_a_protocol_error(body: bytes, content_type: str) -> None:
    """Whatever arrives, reading it raises one of ours or nothing."""
    with pytest.raises(ProtocolError):
        read_request(Message(body=body, content_type=content_type))


# Scopes and counters -----------------------------------------------------------------------------


def test_an_effect_scope_that_was_given_is_the_identity() -> None:
    """The header carries what cannot be derived from the invocation."""
    scope = EffectScopeCron(job_id="j", execution_id="x1")
    sealed = Request.seal(sleep_envelope(), scope=scope)
    assert sealed.message.headers[names.SCOPE] == (
        '{"type":"cron","job_id":"j","execution_id":"x1"}'
    )
    assert sealed.identity == read_request(sealed.message).identity == Identity("x1", "s1:k")


def test_an_effect_scope_with_a_blank_id_is_refused_on_both_sides() -> None:
    """Every id of an effect scope must be there, says the contract."""
    with pytest.raises(InvalidEnvelopeError) as sealing:
        Request.seal(sleep_envelope(), scope=EffectScopeProcess(process_id=" "))
    header = '{"type":"process","process_id":" "}'
    with pytest.raises(InvalidEnvelopeError) as reading:
        read_request(raw(sleep_envelope(), headers={names.SCOPE: header}))
    assert sealing.value.code == reading.value.code == "missing_effect_scope_id"


def test_an_effect_scope_too_long_for_a_header_is_not_sent() -> None:
    """A scope header is never cut, so it must fit with the others."""
    with pytest.raises(PayloadTooLargeError, match="scope"):
        Request.seal(sleep_envelope(), scope=EffectScopeProcess(process_id="x" * 4_000))


def test_counters_move_on_in_a_copy() -> None:
    """A retry is the same effect with other counters, and the original stays as it was."""
    first = replace(Request.seal(sleep_envelope()), message=raw(sleep_envelope(), message_id="m"))
    second = first.changed({"attempt": 2, "first_seen": 5, "due": 9, "crashes": 1})
    assert (second.attempt, second.first_seen_ms, second.due_ms, second.crashes) == (2, 5, 9, 1)
    assert (first.attempt, first.first_seen_ms, first.due_ms, first.crashes) == (1, 0, 0, 0)
    assert second.message.message_id == "", "every publish has an id of its own"
    assert second.message.body == first.message.body
    found = read_request(second.message)
    assert (found.attempt, found.first_seen_ms, found.due_ms, found.crashes) == (2, 5, 9, 1)
    assert first.changed({"due": 3}).attempt == 1


def test_attempt_zero_is_the_first_attempt() -> None:
    """A producer that counts from 0 is forgiven."""
    assert read_request(raw(sleep_envelope(), headers={names.ATTEMPT: 0})).attempt == 1


def test_huge_headers_of_a_stranger_do_not_travel_on() -> None:
    """A message whose headers fill their limit can still be published with our counters."""
    headers: dict[str, Any] = {
        names.REPLAY_KEY: "k" * 3_000,
        names.TRACEPARENT: "t" * 3_000,
        "effect-something-new": "x" * 2_000,
        names.SCOPE: '{"type":"process","process_id":"p1"}',
    }
    found = read_request(raw(sleep_envelope(), headers=headers))
    sent = found.changed({"attempt": 2}).message.headers
    assert sum(len(str(value)) for value in sent.values()) < 4_000
    assert sent[names.SCOPE] == headers[names.SCOPE], "the identity stays"
    assert found.identity.scope_id == "p1"


def test_long_ids_travel_in_the_body_only() -> None:
    """AMQP short strings hold 255 bytes; a longer effect id travels as its digest."""
    long_id, long_key = "é" * 200, "k" * 1_025
    sealed = Request.seal(sleep_envelope(long_id, long_key))
    assert sealed.message.correlation_id == correlation(long_id)
    assert sealed.message.correlation_id.startswith("sha256:")
    assert len(sealed.message.correlation_id) == 71
    assert names.REPLAY_KEY not in sealed.message.headers
    found = read_request(sealed.message)
    assert (found.effect_id, found.replay_key) == (long_id, long_key)
    assert correlation("x" * 255) == "x" * 255
