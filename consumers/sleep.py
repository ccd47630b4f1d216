"""
The handler of ``sleep``. All of the waiting is decided in ``decisions.delivery`` and done by delay
queues and timers, so nothing is ever left for ``run`` to wait for.
"""

from __future__ import annotations

from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.handler import EffectContext, RepeatableHandler
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["SleepHandler"]


class SleepHandler(RepeatableHandler):
    """Sleeps hold no slot: see ``lifecycle.on_arrival``."""

    kind = "sleep"
    retry: RetryPolicy = DEFAULT_RETRY

    async def run(self, request: Request, context: EffectContext) -> RuntimeEffectOutcomeSleep:
        """The time is over."""
        return RuntimeEffectOutcomeSleep()
