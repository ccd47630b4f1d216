"""Canonical JSON: bytes, floats, refusals."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.encoding import canonical
from effectmq.protocol.encoding.canonical import canonical_json, digest, sha256_hex
from effectmq.protocol.errors import ConfigurationError, MalformedError
from tests.protocol.encoding.floats import float_text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_printed_as_the_table_of_the_contract_says(value: float) -> None:
    """Our writer agrees with a printer that was written from the contract alone."""
    assert canonical_json(value).decode() == float_text(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e5, "100000.0"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1.2345678901234568e17, "1.2345678901234568e+17"),
        (1e-5, "0.00001"),
        (1e-6, "1e-6"),
        (2.5e-8, "2.5e-8"),
        (5e-324, "5e-324"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-0.0, "-0.0"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        ("\x00\x0b\x1f\x7f\u2028/🙂", '"\\u0000\\u000b\\u001f\x7f\u2028/🙂"'),
        ('"\\\b\t\n\f\r', '"\\"\\\\\\b\\t\\n\\f\\r"'),
        ({"b": 1, "a": [True, False, None]}, '{"b":1,"a":[true,false,null]}'),
    ],
)
def test_values_are_printed_as_serde_prints_them(value: Any, text: str) -> None:
    """The examples of the contract's tables, and members in the order given."""
    assert canonical_json(value).decode() == text
    assert float_text(value) == text if isinstance(value, float) else True


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), ""),
        ([1, float("inf")], "[1]"),
        ({"a": {"b": [float("-inf")]}}, "a.b[0]"),
        ({"text": "NaN", "n": float("nan")}, "n"),
        ("\ud800", ""),
        ({"k": ["\udfff"]}, "k[0]"),
        ({"a": object()}, "a"),
    ],
)
def test_what_has_no_json_form_is_refused_with_its_path(value: Any, path: str) -> None:
    """NaN, infinities, half surrogate pairs and foreign objects are never printed as something."""
    with pytest.raises(MalformedError) as caught:
        canonical_json(value)
    assert caught.value.path == path


def test_a_half_surrogate_pair_in_a_member_name_is_refused() -> None:
    """Member names are text too."""
    with pytest.raises(MalformedError, match="surrogate"):
        canonical_json({"\ud800": 1})


def test_text_that_says_nan_is_only_text() -> None:
    """The cheap look for NaN in the output does not refuse the word."""
    assert canonical_json(["NaN", "Infinity"]) == b'["NaN","Infinity"]'


def test_endless_nesting_is_refused() -> None:
    """A list that contains itself is an error and not a crash."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(MalformedError):
        canonical_json(endless)


def test_the_digest_is_the_hash_of_the_canonical_bytes() -> None:
    """The transfer digest of the contract, and plain hashlib."""
    expected = "0a28944dab55ca77f6772f5c895d8db7e84f8b3dcd1c5d4d2a01b14f60dbae7e"
    assert digest(["p1", "p2"]) == expected
    assert sha256_hex(b'["p1","p2"]') == hashlib.sha256(b'["p1","p2"]').hexdigest() == expected


def test_a_writer_that_prints_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pydantic-core whose numbers differ, no hash would match: say so at once."""
    monkeypatch.setattr(canonical, "to_json", lambda _: b"[1.0,1e16]")
    with pytest.raises(ConfigurationError, match="pydantic"):
        canonical._check_writer()  # pyright: ignore[reportPrivateUsage]
