"""What a message may hold, at the edges."""

from __future__ import annotations

from typing import Any

import pamqp.encode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.broker.transports.limits import (
    MAX_HEADERS_BYTES,
    check_message,
    check_routing_key,
    is_own_header,
)
from effectmq.protocol.errors import ConfigurationError, PayloadTooLargeError
from effectmq.protocol.messages.message import HeaderValue, Message

LIMIT = 1_000


def test_a_body_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    """The error carries both sizes."""
    check_message(Message(body=b"x" * LIMIT), LIMIT)

    with pytest.raises(PayloadTooLargeError) as raised:
        check_message(Message(body=b"x" * (LIMIT + 1)), LIMIT)

    found = (raised.value.what, raised.value.size_bytes, raised.value.limit_bytes)
    assert found == ("the body", LIMIT + 1, LIMIT)


@pytest.mark.parametrize(
    "name", ["content_type", "type", "correlation_id", "reply_to", "message_id"]
)
def test_a_property_has_255_bytes(name: str) -> None:
    """Bytes count, not characters, and the error names the property."""
    fitting: dict[str, Any] = {name: "é" * 127 + "e"}
    check_message(Message(body=b"", **fitting), LIMIT)

    for text in ("é" * 128, "e" * 256):
        too_long: dict[str, Any] = {name: text}
        with pytest.raises(PayloadTooLargeError, match=name):
            check_message(Message(body=b"", **too_long), LIMIT)


def test_a_property_with_a_lone_surrogate_is_refused() -> None:
    """The client would fail on it after the message had been counted as sent."""
    with pytest.raises(ConfigurationError, match=r"correlation_id.*surrogate at position 1"):
        check_message(Message(body=b"", correlation_id="a\ud800"), LIMIT)


def test_a_routing_key_has_255_bytes() -> None:
    """AMQP's own limit, as a sentence."""
    check_routing_key("k" * 255)

    with pytest.raises(PayloadTooLargeError, match="the routing key is 256 bytes"):
        check_routing_key("k" * 256)


@pytest.mark.parametrize("timestamp", [-1, 253_402_300_800])
def test_a_timestamp_that_is_no_date_is_refused(timestamp: int) -> None:
    """Timestamps in milliseconds are the usual mistake."""
    check_message(Message(body=b"", timestamp=253_402_300_799), LIMIT)

    with pytest.raises(ConfigurationError, match=str(timestamp)):
        check_message(Message(body=b"", timestamp=timestamp), LIMIT)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, "float"),
        (None, "NoneType"),
        (b"x", "bytes"),
        ([], "list"),
        ({}, "dict"),
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        ("\udfff", "surrogate"),
    ],
)
def test_a_header_value_that_does_not_travel_is_refused(value: Any, expected: str) -> None:
    """Floats would lose half their digits, and tables crash the reader when they are nested."""
    with pytest.raises(ConfigurationError, match=f"effect-x.*{expected}"):
        check_message(Message(body=b"", headers={"effect-x": value}), LIMIT)


@pytest.mark.parametrize("name", ["x-death", "", "Effect-hash", "traceparents"])
def test_a_header_that_is_not_ours_is_refused(name: str) -> None:
    """It would be dropped at the other end, which nobody should have to find out."""
    assert not is_own_header(name)

    with pytest.raises(ConfigurationError, match="is unknown and would not arrive"):
        check_message(Message(body=b"", headers={name: 1}), LIMIT)


def test_a_header_name_has_128_bytes() -> None:
    """The client cuts longer names, with a line in its log."""
    check_message(Message(body=b"", headers={"effect-".ljust(128, "x"): 1}), LIMIT)

    with pytest.raises(ConfigurationError, match="129 bytes"):
        check_message(Message(body=b"", headers={"effect-".ljust(129, "x"): 1}), LIMIT)


def test_headers_together_have_eight_kibibytes() -> None:
    """Names, values and what AMQP writes around them count."""
    overhead = 1 + len("effect-a") + 1 + 4
    fitting = "x" * (MAX_HEADERS_BYTES - overhead)
    check_message(Message(body=b"", headers={"effect-a": fitting}), LIMIT)

    with pytest.raises(PayloadTooLargeError, match="the headers"):
        check_message(Message(body=b"", headers={"effect-a": fitting + "x"}), LIMIT)


@given(
    st.dictionaries(
        st.from_regex(r"effect-[a-z]{0,20}", fullmatch=True),
        st.text(max_size=500) | st.integers(-(2**63), 2**63 - 1) | st.booleans(),
        max_size=20,
    )
)
def test_what_is_accepted_the_client_can_encode(headers: dict[str, HeaderValue]) -> None:
    """Nothing that passes the check makes pamqp raise or takes more room than was counted."""
    try:
        check_message(Message(body=b"", headers=headers), LIMIT)
    except PayloadTooLargeError:
        return
    table_length = 4
    assert len(pamqp.encode.field_table(dict(headers))) <= MAX_HEADERS_BYTES + table_length
