"""Shows how many effects are done: when that is asked for, and where a terminal is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sized
from contextlib import contextmanager

__all__ = ["counting"]


@contextmanager
def counting(items: object, *, asked: bool) -> Generator[Callable[[], None]]:
    """
    Give what counts one more as done.

    Args:
        items: What is counted; its length is the total when it has one.
        asked: Whether to show anything.
    """
    if not asked:
        yield _nothing
        return
    from effectmq.broker.progress_line import ProgressLine

    with ProgressLine("effects", len(items) if isinstance(items, Sized) else None) as progress:
        yield progress.advance


def _nothing() -> None: ...
