"""A worker with a scripted model that has a price, and a tool that pays for each attempt."""

from __future__ import annotations

import json
import os

from effectmq import EffectContext, Worker, WorkerSettings
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.protocol.errors import ToolCallError

app = Worker(settings=WorkerSettings(**json.loads(os.environ.get("SCENARIO_SETTINGS", "{}"))))
app.models(
    {
        "priced": {
            "provider": "scripted",
            "script": [{"reply": "two dollars fifty", "pause_s": 0.01}],
            "price": {"input": 2, "output": 10},
        }
    }
)


@app.tool(retry=RetryPolicy(max_attempts=3, base_delay_s=1.05, max_delay_s=1.05))
async def paid(context: EffectContext) -> int:
    """Pay, fail once in a way that is worth a second try, and pay again."""
    context.spend("api", usd="0.25")
    if context.attempt == 1:
        raise ToolCallError("not at the first try", retry=True, after_s=1.05)
    return context.attempt
