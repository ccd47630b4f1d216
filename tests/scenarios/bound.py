"""
A worker with a version, started as ``python -m effectmq worker tests.scenarios.bound:app``.

``EFFECTMQ_WORKER_VERSION`` is its version. Only version 2 has the tool ``fresh``. Calls of ``held``
end when the file of ``SCENARIO_GATE`` exists.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from effectmq import Client, EffectContext, Worker, WorkerSettings
from tests.scenarios.ledger import Ledger

_POLL_S = 0.02
_ledger = Ledger(Path(os.environ["SCENARIO_LEDGER"]))
_gate = Path(os.environ["SCENARIO_GATE"])

app = Worker(settings=WorkerSettings(**json.loads(os.environ.get("SCENARIO_SETTINGS", "{}"))))


@app.tool
async def who(context: EffectContext) -> str:
    """Say the version of the worker that carries this out."""
    _ledger.note(context.effect_id, context.attempt)
    return app.version


@app.tool
async def child(context: EffectContext) -> str:
    """Ask for another effect, and give what that said."""
    async with Client(os.environ["EFFECTMQ_BROKER"], namespace=app.topology.namespace) as client:
        turn = client.turn("children", context.effect_id)
        return str((await turn.tool_call("who", {}, call_id="c")).value)


@app.tool
async def held(context: EffectContext) -> str:
    """The same as ``who`` once the gate is open."""
    _ledger.note(context.effect_id, context.attempt)
    while not os.access(_gate, os.F_OK):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(_POLL_S)
    return app.version


if app.version == "2":

    @app.tool
    async def fresh() -> str:
        """What version 1 does not have."""
        return app.version
