"""
Which of several addresses to try next, and for how long.

The first one is random, so that many clients spread over the nodes of a cluster; from there they
are tried in turn. A round tries each address once without a pause: a wait makes sense only when
none of them answers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["Rotation"]

#: An address that never answers must not use up the time of the others, but must get some.
_SHORTEST_TRY_S = 1.0


class Rotation:
    """
    The addresses of a cluster in turn, with the next one to try.

    Args:
        urls: The addresses, at least one.
        start: The index of the first one; random when not given.
    """

    def __init__(self, urls: Sequence[str], start: int | None = None) -> None:
        self._urls = tuple(urls)
        self._at = random.randrange(len(urls)) if start is None else start
        self._tried = 0

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def url(self) -> str:
        """The address to try now."""
        return self._urls[self._at % len(self._urls)]

    def failed(self) -> bool:
        """
        The address did not work, or was lost: continue with the next one.

        Returns:
            Whether that ends a round, so that it is time to wait.
        """
        self._at += 1
        self._tried += 1
        if self._tried < len(self._urls):
            return False
        self._tried = 0
        return True

    def begin_round(self) -> None:
        """Begin a round: the next tries, one for each address, belong to it."""
        self._tried = 0

    def share_s(self, left_s: float) -> float:
        """How long this try may take, in seconds, when this much is left for the whole round."""
        return max(_SHORTEST_TRY_S, left_s / (len(self._urls) - self._tried))
