"""
The handler of ``sleep``. ``decisions.delivery`` decides all of the waiting, and delay queues and
timers do it, so ``run`` never waits.
"""

from __future__ import annotations

from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.handler import EffectContext, RepeatableHandler
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["SleepHandler"]


class SleepHandler(RepeatableHandler):
    """Answers sleeps that are over. They hold no slot: see ``decisions.delivery.on_arrival``."""

    kind = "sleep"
    retry: RetryPolicy = DEFAULT_RETRY

    async def run(self, request: Request, context: EffectContext) -> RuntimeEffectOutcomeSleep:
        """Answer that the time is over."""
        return RuntimeEffectOutcomeSleep()
