"""Suggestions for a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]

_CUTOFF = 0.6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """
    A question to add to a sentence; empty when no known name is similar.

    Args:
        word: The typed word.
        known: The known names.
    """
    # A separate library, which is imported only after a mistake.
    from difflib import get_close_matches

    near = get_close_matches(word, [each for each in known if each != word], n=1, cutoff=_CUTOFF)
    return f"; did you mean {near[0]!r}?" if near else ""
