"""Our headers, read from strangers."""

from __future__ import annotations

import pytest

from effectmq.broker.transports.limits import is_own_header
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages import headers


def test_every_header_of_ours_is_one_that_the_transports_let_through() -> None:
    """Transports drop what is not ours, so each name must have the prefix."""
    values = [getattr(headers, name) for name in headers.__all__ if name.isupper()]
    found = [value for value in values if isinstance(value, str)]
    assert len(set(found)) == len(found)
    assert all(is_own_header(name) for name in found)


def test_a_missing_header_is_its_default() -> None:
    """A producer need not send any."""
    assert headers.integer({}, headers.ATTEMPT, 1) == 1
    assert headers.text({}, headers.HASH) == ""


def test_a_header_of_the_right_type_is_its_value() -> None:
    """Integers of 0 or more, and text."""
    assert headers.integer({headers.DUE: 0}, headers.DUE, 7) == 0
    assert headers.integer({headers.DUE: 2**63 - 1}, headers.DUE, 7) == 2**63 - 1
    assert headers.text({headers.HASH: "ab"}, headers.HASH) == "ab"


@pytest.mark.parametrize("value", [-1, True, "1", 2**63])
def test_a_number_that_is_none_is_malformed(value: int | str | bool) -> None:
    """A bool is no integer, text is no integer, and a counter never goes below zero."""
    with pytest.raises(MalformedError) as refused:
        headers.integer({headers.ATTEMPT: value}, headers.ATTEMPT, 1)
    assert refused.value.path == headers.ATTEMPT


@pytest.mark.parametrize("value", [1, False])
def test_text_that_is_none_is_malformed(value: int | bool) -> None:
    """Numbers are not turned into text."""
    with pytest.raises(MalformedError) as refused:
        headers.text({headers.HASH: value}, headers.HASH)
    assert refused.value.path == headers.HASH
