"""
One request over HTTP while its answer is waited for. No I/O.

The library does not break off what waits for the answer to a call that is over, so a server that
goes on with it, or never answers, would keep a connection for ever.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

__all__ = ["AbandonedError", "Asked"]


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(slots=True)
class Asked:
    """
    A request that is under way.

    Attributes:
        method: Of the request.
        waits: What waits for the server just now.
        abandoned: Whether nobody wants the answer.
    """

    method: str
    waits: anyio.CancelScope | None = None
    abandoned: bool = False

    @contextmanager
    def waiting(self) -> Generator[None]:
        """
        Wait for the server inside of this, until nobody wants the answer.

        Raises:
            AbandonedError: When that is so.
        """
        if self.abandoned:
            raise AbandonedError
        with anyio.CancelScope() as scope:
            self.waits = scope
            try:
                yield
            finally:
                self.waits = None
        if scope.cancelled_caught:
            raise AbandonedError

    def abandon(self) -> None:
        """Nobody wants the answer."""
        self.abandoned = True
        if self.waits is not None:
            self.waits.cancel()
