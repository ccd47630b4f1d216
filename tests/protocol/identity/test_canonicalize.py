"""One line in, canonical form or a sentence out."""

from __future__ import annotations

from effectmq.protocol.identity.canonicalize import canonicalize_line
from tests.protocol.documents import examples


def test_an_envelope_gives_bytes_hash_and_validation() -> None:
    """Bytes or text, with any white space."""
    recorded = examples()["C8"]
    expected = {
        "canonical": recorded["document"],
        "sha256": recorded["sha256"],
        "validation": "ok",
    }
    assert canonicalize_line("envelope", recorded["document"]) == expected
    assert canonicalize_line("envelope", f" {recorded['document']}\n".encode()) == expected


def test_an_outcome_gives_bytes_and_hash() -> None:
    """There is no rule for outcomes besides their shape."""
    assert canonicalize_line("outcome", ' {"x":1, "type":"sleep"}') == {
        "canonical": '{"type":"sleep"}',
        "sha256": examples()["O23"]["sha256"],
    }


def test_a_value_is_sorted() -> None:
    """Any JSON is a value, repeated members included."""
    assert canonicalize_line("value", '{"b":1,"a":-0,"b":2}')["canonical"] == '{"a":-0.0,"b":2}'


def test_a_broken_line_gives_a_sentence() -> None:
    """Neither a raise nor a guess."""
    assert canonicalize_line("value", "{") == {
        "error": "not JSON: Expecting property name enclosed in double quotes at line 1 column 2"
    }
    assert canonicalize_line("envelope", "{}") == {"error": "invocation: the member is missing"}
