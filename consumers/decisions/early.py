"""
What to do with an effect that arrives before it may begin.

It waits on delay levels, where it holds no slot. A worker looks at it between two levels. Nothing
is claimed and no attempt is counted before its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from effectmq.protocol.messages.request import Request

__all__ = ["Early", "early"]


@dataclass(frozen=True, slots=True)
class Early:
    """Publish it to a delay level, then settle: it may not begin yet."""

    level_ms: int


def early(request: Request, *, now_ms: int, levels_ms: Sequence[int]) -> Early | None:
    """
    Where an effect waits that may not begin yet; ``None`` when it may, or its deadline is over.

    The wait ends at the earlier of the two, and at most the shortest level later.

    Args:
        request: What arrived.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.
    """
    until_ms = request.not_before_ms
    if request.deadline_ms:
        until_ms = min(until_ms, request.deadline_ms)
    left_ms = until_ms - now_ms
    if left_ms <= 0:
        return None
    # One level that ends a little late is better than many that end in time: each is a publish.
    for level_ms in levels_ms:
        if left_ms <= level_ms <= left_ms + levels_ms[0]:
            return Early(level_ms)
    return Early(max(level_ms for level_ms in levels_ms if level_ms <= left_ms))
