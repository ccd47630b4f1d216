"""
How long to wait before connecting again. Pure.

There are two sequences of waits, for two problems. A broker that cannot be reached is tried less
and less often. A broker that can be reached but soon closes the connection (a message that breaks
the connection each time, an operator who closes all connections again and again) is tried again
quickly, but not in a hot loop: a message that breaks twenty connections before its delivery limit
removes it should not stop a worker for minutes.
"""

from __future__ import annotations

from effectmq.broker.backoff import Backoff

__all__ = ["ReconnectWaits"]

#: Longest wait after a loss, when connecting itself works.
_FLAPPING_MAX_S = 2.0
#: A connection that lived this long was healthy; its loss begins at the first wait again.
_HEALTHY_AFTER_S = 30.0


class ReconnectWaits:
    """
    The waits of a connection that is made, lives for a while, and is lost.

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
        """Seconds to wait after the loss of a connection that had lived for ``lived_s`` seconds."""
        self._failures.reset()
        if lived_s >= _HEALTHY_AFTER_S:
            self._losses.reset()
        return self._losses.next_s()
