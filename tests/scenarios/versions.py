"""
Two versions of one worker, started as ``python -m effectmq worker tests.scenarios.versions:old``.

The new one has a tool, an argument, a model, an MCP server and a code engine that the old one
lacks. ``SCENARIO_SETTINGS`` are the ``WorkerSettings`` as JSON. Without a journal neither runs
code, which keeps its variables there.
"""

from __future__ import annotations

import json
import os
import sys

from effectmq import Worker, WorkerSettings
from effectmq.boundary import whole_boundary
from effectmq.consumers.code.settings import CodeSettings

_settings = WorkerSettings(**json.loads(os.environ.get("SCENARIO_SETTINGS", "{}")))
_kept = os.environ.get("EFFECTMQ_JOURNAL") != "none"

old = Worker(settings=_settings)
new = Worker(settings=_settings)


@old.tool(name="pay")
async def old_pay(n: int) -> str:
    """Pay in the only currency there is."""
    return f"old {n}"


@new.tool
async def pay(n: int, currency: str = "EUR") -> str:
    """Pay."""
    return f"{currency} {n}"


@new.tool
async def refund(n: int) -> int:
    """Give it back."""
    return n


new.mcp([sys.executable, "-m", "tests.consumers.tools.mcp.server"], prefix="far.")


def _models(*names: str) -> dict[str, object]:
    return {name: {"provider": "scripted", "script": [{"reply": "$text"}]} for name in names}


if _kept:
    whole_boundary(old, models=_models("m1"))
    whole_boundary(new, models=_models("m1", "m2"), code=CodeSettings(time_limit_s=5))
else:
    old.models(_models("m1"))
    new.models(_models("m1", "m2"))
