"""
How long to wait before connecting again. Pure.

Two ladders, because two things go wrong. A broker that cannot be reached is asked less and less
often. A broker that can be reached and hangs up soon after (a poisonous message breaks the
connection each time, an operator closes all connections again and again) is worth coming back to
quickly, but not in a hot loop: a message that breaks twenty connections before its delivery limit
moves it out of the way should not stop a worker for minutes.
"""

from __future__ import annotations

from effectmq.broker.backoff import Backoff

__all__ = ["ReconnectWaits"]

#: Longest wait after a loss, when connecting itself works.
_FLAPPING_MAX_S = 2.0
#: What lived this long was healthy; its loss starts again at the first wait.
_HEALTHY_AFTER_S = 30.0


class ReconnectWaits:
    """
    Waiting times of something that connects, lives for a while, and is lost.

    Args:
        longest_s: The longest wait between two failed tries, in seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._failures = Backoff(longest_s)
        self._losses = Backoff(min(longest_s, _FLAPPING_MAX_S))

    def after_failure_s(self) -> float:
        """Seconds to wait after a try that failed."""
        return self._failures.next_s()

    def after_loss_s(self, lived_s: float) -> float:
        """Seconds to wait after the loss of what had been there for ``lived_s`` seconds."""
        self._failures.reset()
        if lived_s >= _HEALTHY_AFTER_S:
            self._losses.reset()
        return self._losses.next_s()
