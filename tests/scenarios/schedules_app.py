"""
A worker with a schedule that fires every second, for fleets whose schedulers are killed.

``SCENARIO_CLAIM_MS`` is how long the others leave a time to the scheduler that claimed it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from effectmq import ToolContext, Worker, WorkerSettings
from effectmq.broker.store.schedules import table
from tests.scenarios.ledger import Ledger

_ledger = Ledger(Path(os.environ["SCENARIO_LEDGER"]))
table.CLAIM_MS = int(os.environ["SCENARIO_CLAIM_MS"])

app = Worker(settings=WorkerSettings(**json.loads(os.environ["SCENARIO_SETTINGS"])))


@app.tool
async def tick(context: ToolContext) -> int:
    """Note the time that it was asked for."""
    _ledger.note(context.invocation.scope.turn_id or "", context.attempt)
    return os.getpid()


app.schedule("tick", tick, every_s=1, missed="all")
