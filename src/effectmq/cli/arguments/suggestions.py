"""What was probably meant, when a name is like one that is known."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]

_CUTOFF = 0.6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """
    The question to put behind a sentence, or nothing when no known name is near.

    Args:
        word: What was typed.
        known: What there is.
    """
    # A library of its own, which only a mistake needs.
    from difflib import get_close_matches

    near = get_close_matches(word, [each for each in known if each != word], n=1, cutoff=_CUTOFF)
    return f"; did you mean {near[0]!r}?" if near else ""
