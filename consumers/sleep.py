"""
The handler of ``sleep``. All of the waiting is decided in ``decisions.delivery`` and done by delay
queues and timers, so nothing is ever left for ``run`` to wait for.
"""

from __future__ import annotations

from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.handler import EffectContext, HandlerTimeoutError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["SleepHandler"]


class SleepHandler:
    """Sleeps hold no slot: see ``lifecycle.on_arrival``."""

    kind = "sleep"
    retry: RetryPolicy = DEFAULT_RETRY

    def limit_s(self, request: Request) -> float | None:
        """None of its own."""
        return None

    def on_uncertain(self, request: Request) -> OnUncertain:
        """Waiting again does no harm."""
        return "retry"

    async def run(self, request: Request, context: EffectContext) -> RuntimeEffectOutcomeSleep:
        """The time is over."""
        return RuntimeEffectOutcomeSleep()

    def timed_out(self, request: Request, limit_s: float) -> HandlerTimeoutError:
        """It cannot take time; answered for completeness of the port."""
        return HandlerTimeoutError(limit_s)
