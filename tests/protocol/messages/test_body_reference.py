"""References to bodies that are kept out of line, and messages that carry them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import (
    BodyReference,
    accepts_out_of_line,
    body_reference,
    known_body,
    with_body,
    with_reference,
)
from effectmq.protocol.messages.dead_letter import dead_message, read_dead_letter, revived_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import read_replies
from effectmq.protocol.messages.request import read_request

DIGEST = "ab" * 32
REFERENCE = BodyReference(DIGEST, 5)
SMALL = Message(body=b"", headers={names.BODY: REFERENCE.header, names.OUT_OF_LINE: True})

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
hostile = st.one_of(
    st.text(max_size=200),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    # Almost right.
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["sha256:", "SHA256:", "sha512:", " sha256:", ""]),
        st.text("0123456789abcdefABCDEF\u0660g", min_size=62, max_size=66),
        st.sampled_from([";", "", ":", ";;", "; "]),
        st.one_of(
            st.integers(-5, 2**70).map(str), st.sampled_from(["", "\u0663", "1_0", "+1", "1\n"])
        ),
        st.sampled_from(["", "\n", ";", " "]),
    ),
)


@given(digests, st.integers(1, 10**18 - 1))
def test_a_reference_comes_back_from_its_header(sha256: str, size_bytes: int) -> None:
    """Whatever it says; and the header is short enough to be carried."""
    reference = BodyReference(sha256, size_bytes)
    message = with_reference(Message(body=b"body", headers={names.ATTEMPT: 2}), reference)
    assert message.body == b""
    assert body_reference(message) == reference
    assert names.carried(message.headers) == message.headers


@given(hostile, st.sampled_from([b"", b"x"]))
def test_a_header_of_a_stranger_is_a_reference_or_malformed(
    value: str | int | bool, body: bytes
) -> None:
    """It is read strictly: what is taken is written again just so."""
    message = Message(body=body, headers={names.BODY: value})
    right = isinstance(value, str) and re.fullmatch(r"sha256:[0-9a-f]{64};[1-9][0-9]{0,17}", value)
    if right and not body:
        reference = body_reference(message)
        assert reference is not None
        assert reference.header == value
        assert known_body(message) == (reference.sha256, reference.size_bytes)
        return
    with pytest.raises(MalformedError) as refused:
        body_reference(message)
    assert refused.value.path == names.BODY
    assert str(refused.value).isprintable()
    assert known_body(message) == (sha256_hex(body), len(body))


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"sha256:{DIGEST}",
        f"sha256:{DIGEST};0",
        f"sha256:{DIGEST};05",
        f"sha256:{DIGEST};5\n",
        f"sha256:{DIGEST};-5",
        f"sha256:{DIGEST};{'9' * 19}",
        f"sha256:{DIGEST.upper()};5",
        f"sha256:../../{DIGEST[6:]};5",
    ],
)
def test_almost_a_reference_is_malformed(value: str) -> None:
    """With what was expected."""
    with pytest.raises(MalformedError, match=r"expected sha256:<64 lowercase hex digits>;<bytes>"):
        body_reference(Message(body=b"", headers={names.BODY: value}))


def test_a_reference_beside_a_body_is_malformed() -> None:
    """Nobody could say which of them is meant."""
    with pytest.raises(MalformedError, match="found a body of 1 bytes beside"):
        body_reference(Message(body=b"x", headers=SMALL.headers))


@pytest.mark.parametrize("read", [read_request, read_replies])
def test_a_message_whose_body_was_not_fetched_says_what_to_do(read: object) -> None:
    """A worker and a client without a store say it, and not that the body is empty."""
    assert callable(read)
    with pytest.raises(MalformedError, match="there is no attachment store here; set EFFECTMQ_ATT"):
        read(SMALL)
    with pytest.raises(MalformedError, match="expected sha256"):
        read(Message(body=b"", headers={names.BODY: "x"}))


def test_with_its_body_a_message_is_what_it_was() -> None:
    """The reference goes, everything else stays."""
    original = Message(body=b"12345", headers={names.OUT_OF_LINE: True}, reply_to="me")
    small = with_reference(original, REFERENCE)
    assert small.reply_to == "me"
    assert with_body(small, b"12345") == original


def test_a_parked_message_and_its_replay_keep_the_reference() -> None:
    """Both are published small, and can be fetched."""
    letter = dead_message(
        SMALL,
        kind="exec_code",
        route="exec_code",
        reason="malformed",
        code="c",
        detail="d",
        parked_ms=1,
        parked_by="w",
    )
    assert body_reference(letter) == REFERENCE
    revived = revived_message(read_dead_letter(letter, "exec_code"))
    assert (revived.body, revived.headers) == (b"", SMALL.headers)


@pytest.mark.parametrize(("headers", "accepts"), [({}, False), ({names.OUT_OF_LINE: True}, True)])
def test_who_does_not_say_so_gets_no_answer_out_of_line(
    headers: dict[str, str | int | bool], accepts: bool
) -> None:
    """A producer in another language has never heard of it."""
    assert accepts_out_of_line(Message(body=b"", headers=headers)) is accepts


@pytest.mark.parametrize("value", [1, "true"])
def test_a_yes_or_no_that_is_none_is_malformed(value: int | str) -> None:
    """As every header of the wrong type."""
    with pytest.raises(MalformedError, match="expected true or false"):
        accepts_out_of_line(Message(body=b"", headers={names.OUT_OF_LINE: value}))
