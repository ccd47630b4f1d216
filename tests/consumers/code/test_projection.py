"""How a long text is cut, and what is said about it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from effectmq.consumers.code.data.projection import projected
from effectmq.protocol.encoding.serde.model import to_tree


def test_a_short_text_is_kept_whole() -> None:
    """And the numbers agree."""
    text, metadata = projected("a\nb\n", limit_chars=10, max_lines=5)
    assert text == "a\nb\n"
    assert to_tree(metadata) == {
        "truncated": False,
        "original_chars": 4,
        "projected_chars": 4,
        "original_lines": 2,
        "projected_lines": 2,
        "limit": 10,
        "limit_mode": "chars",
        "max_lines": 5,
    }


def test_characters_are_counted_and_not_bytes() -> None:
    """As the other side counts them."""
    text, metadata = projected("éü😀x", limit_chars=3, max_lines=5)
    assert (text, metadata.original_chars, metadata.projected_chars) == ("éü😀", 4, 3)


def test_lines_are_cut_before_characters() -> None:
    """The last one loses its end."""
    text, metadata = projected("one\ntwo\nthree", limit_chars=100, max_lines=2)
    assert (text, metadata.original_lines, metadata.projected_lines) == ("one\ntwo", 3, 2)


@given(st.text(alphabet="a\n", max_size=60), st.integers(1, 40), st.integers(1, 20))
def test_what_is_kept_is_within_both_limits(text: str, limit: int, lines: int) -> None:
    """And is the beginning of the whole."""
    kept, metadata = projected(text, limit_chars=limit, max_lines=lines)
    assert text.startswith(kept)
    assert metadata.projected_chars == len(kept) <= limit
    assert metadata.projected_lines <= lines
    assert metadata.truncated == (kept != text)
