"""The recorded vectors: what serde printed, hashed, validated and refused."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.protocol.identity.canonicalize import canonicalize_line
from tests.protocol.documents import vectors


@pytest.mark.parametrize("kind", ["envelope", "outcome", "value"])
def test_every_recorded_document_gives_the_recorded_bytes_hash_and_validation(kind: Any) -> None:
    """What serde encoded comes out byte for byte, with its hash and the code of its rule."""
    recorded = [vector for vector in vectors() if vector["kind"] == kind and "sha256" in vector]
    expected = [
        {key: vector[key] for key in ("canonical", "sha256", "validation") if key in vector}
        for vector in recorded
    ]
    assert expected
    assert [canonicalize_line(kind, vector["input"]) for vector in recorded] == expected


@pytest.mark.parametrize("kind", ["envelope", "outcome"])
def test_every_document_that_serde_refused_is_refused_with_a_sentence(kind: Any) -> None:
    """What serde does not read, we do not read either, and we say where and why."""
    refused = [vector for vector in vectors() if vector["kind"] == kind and "error" in vector]
    assert refused
    for vector in refused:
        found = canonicalize_line(kind, vector["input"])
        assert list(found) == ["error"], vector["input"]
        assert len(found["error"]) < 500
        assert "pydantic" not in found["error"]


def test_all_vectors_are_covered() -> None:
    """The tests above look at each of the 1,800 recorded vectors."""
    kinds = [(vector["kind"], "error" in vector) for vector in vectors()]
    assert len(kinds) == 1800
    assert set(kinds) == {
        ("envelope", False),
        ("envelope", True),
        ("outcome", False),
        ("outcome", True),
        ("value", False),
    }
