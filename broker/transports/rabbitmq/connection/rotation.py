"""
Which of several addresses to try next, and for how long.

The first one is drawn, so that many clients spread over the nodes of a cluster; from there they are
taken in turn. A round tries each address once without waiting in between: only when none of them
answers is there something to wait for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["Rotation"]

#: An address that swallows everything must not eat the time of the others, but must get some.
_SHORTEST_TRY_S = 1.0


class Rotation:
    """
    The addresses of a cluster in turn, with the next one to try.

    Args:
        urls: The addresses, at least one.
        start: Which one is first; drawn when not given.
    """

    def __init__(self, urls: Sequence[str], start: int | None = None) -> None:
        self._urls = tuple(urls)
        self._at = random.randrange(len(urls)) if start is None else start
        self._tried = 0

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def url(self) -> str:
        """The address whose turn it is."""
        return self._urls[self._at % len(self._urls)]

    def failed(self) -> bool:
        """
        The address did not work, or was lost: the next one is up.

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
        """Count from here: the next as many tries are one round."""
        self._tried = 0

    def share_s(self, left_s: float) -> float:
        """How long this try may take, in seconds, when so much is left for all of the round."""
        return max(_SHORTEST_TRY_S, left_s / (len(self._urls) - self._tried))
