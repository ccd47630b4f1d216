"""A peek shows what reading shows, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.protocol.encoding.codec import JSON, MSGPACK
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue, Message
from effectmq.protocol.messages.peeking import peek
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from tests.protocol.documents import example, examples
from tests.protocol.messages.test_request import sleep_envelope

_LIMITS = Limits()


def _envelopes() -> list[RuntimeEffectEnvelope]:
    found = [
        example(label)
        for label, each in examples().items()
        if each["type"] == "RuntimeEffectEnvelope"
    ]
    return [sleep_envelope(), *found]


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("envelope", _envelopes())
def test_a_peek_shows_what_reading_shows(
    content_type: str, envelope: RuntimeEffectEnvelope
) -> None:
    """Whose it is, which effect, and until when."""
    sealed = Request.seal(envelope, content_type=content_type, tenant="acme", deadline_ms=7)
    for message in (sealed.message, replace(sealed.message, content_type="")):
        request, peeked = read_request(message), peek(message, _LIMITS)
        assert peeked is not None
        assert peeked[:3] == (request.identity, request.tenant, request.deadline_ms)
        assert to_tree(envelope) == peeked.tree


@pytest.mark.parametrize(
    "headers",
    [
        {names.TENANT: 7},
        {names.DEADLINE: "soon"},
        {names.SCOPE: "{}"},
        {names.NOT_BEFORE: 1},
        {names.BODY: "elsewhere"},
        {names.ATTEMPT: 2},
        {"a-stranger": "s"},
    ],
)
def test_what_is_unusual_has_to_be_read(headers: dict[str, HeaderValue]) -> None:
    """It may be malformed, or another effect, or not due."""
    message = Request.seal(sleep_envelope()).message
    assert peek(replace(message, headers={**message.headers, **headers}), _LIMITS) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"{}",
        b"[]",
        b'{"invocation":[]}',
        b'{"invocation":{"scope":{"session_id":1},"replay":{"key":"k"}}}',
        b'{"invocation":{"scope":{"session_id":"s"},"replay":{"key":null}}}',
        b'{"invocation":{"scope":{"session_id":"\\ud800"},"replay":{"key":"k"}}}',
    ],
)
def test_what_is_no_envelope_has_to_be_read(body: bytes) -> None:
    """Reading says what is wrong with it."""
    message = Message(body=body, type="effect.envelope.v1")
    assert peek(message, _LIMITS) is None
    assert peek(replace(message, type="another"), _LIMITS) is None
