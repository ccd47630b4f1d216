"""
One request over HTTP, while it waits for its answer. No I/O.

The library does not stop waiting for the answer to a cancelled call, so a server that goes on with
it, or never answers, would keep a connection for ever.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

__all__ = ["AbandonedError", "Asked"]


class AbandonedError(Exception):
    """No caller waits for the answer any more."""


@dataclass(slots=True)
class Asked:
    """
    A request under way.

    Attributes:
        method: The method of the request.
        waits: What waits for the server now.
        abandoned: Whether no caller waits for the answer.
    """

    method: str
    waits: anyio.CancelScope | None = None
    abandoned: bool = False

    @contextmanager
    def waiting(self) -> Generator[None]:
        """
        Wait for the server inside of this, until the request is abandoned.

        Raises:
            AbandonedError: When it is abandoned.
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
        """Stop waiting: no caller wants the answer."""
        self.abandoned = True
        if self.waits is not None:
            self.waits.cancel()
