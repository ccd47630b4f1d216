"""
The worker under test, started as ``python -m effectmq worker tests.scenarios.app:app``.

=====================  ==========================================================================
``SCENARIO_LEDGER``    where executions are written down
``SCENARIO_GATE``      calls that are held end when this file exists
``SCENARIO_STANDBY``   wait for this file before starting, with everything imported: a replacement
                       that takes over in a moment
``SCENARIO_SETTINGS``  ``WorkerSettings`` as JSON
``SCENARIO_TRANSPORT`` ``TransportSettings`` as JSON
``SCENARIO_SHARE``     by what the route of tool calls is shared; not when it is missing
=====================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import signal
import time
from pathlib import Path

from effectmq import (
    EffectContext,
    RejectEffectError,
    TransportSettings,
    WaitForAnswer,
    Worker,
    WorkerSettings,
)
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.protocol.errors import ToolCallError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from tests.scenarios.ledger import Ledger

_POLL_S = 0.02
_ledger = Ledger(Path(os.environ["SCENARIO_LEDGER"]))
_gate = Path(os.environ["SCENARIO_GATE"])


def _begin(context: EffectContext) -> None:
    _ledger.note(context.effect_id, context.attempt)


async def _gate_open() -> None:
    while not os.access(_gate, os.F_OK):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(_POLL_S)


app = Worker(
    settings=WorkerSettings(**json.loads(os.environ.get("SCENARIO_SETTINGS", "{}"))),
    transport=TransportSettings(**json.loads(os.environ.get("SCENARIO_TRANSPORT", "{}"))),
)

if share := os.environ.get("SCENARIO_SHARE"):
    app.share("tool_call", key=share)


@app.tool
async def work(n: int, context: EffectContext, ms: int = 0) -> dict[str, int]:
    """Square a number, after a while."""
    _begin(context)
    if ms:
        await asyncio.sleep(ms / 1_000)
    return {"n": n, "square": n * n}


@app.tool
async def held(n: int, context: EffectContext) -> dict[str, int]:
    """Square a number once the gate is open."""
    _begin(context)
    await _gate_open()
    _ledger.note(context.effect_id, context.attempt, "end")
    return {"n": n, "square": n * n}


@app.tool
async def draw(
    n: int, context: EffectContext, ms: int = 0, hold: bool = False
) -> dict[str, int | str]:
    """Draw a number: no two executions give the same, so that a second one cannot hide."""
    _begin(context)
    await asyncio.sleep(ms / 1_000)
    if hold:
        await _gate_open()
    return {"n": n, "drawn": secrets.token_hex(8), "pid": os.getpid()}


@app.tool
async def ask(n: int, context: EffectContext, s: float = 3_600.0) -> int | WaitForAnswer:
    """Let somebody else give the number, for so many seconds."""
    _begin(context)
    return context.wait_for_answer(note=f"Which number is {n}?", deadline_s=s)


@app.tool(on_uncertain="park")
async def once(n: int, context: EffectContext) -> int:
    """Do what must never be done twice, once the gate is open."""
    _begin(context)
    await _gate_open()
    return n


@app.tool(retry=RetryPolicy(max_attempts=3, base_delay_s=1.05, max_delay_s=1.05))
async def flaky(n: int, context: EffectContext) -> dict[str, int]:
    """Fail once, in a way that is worth a second try, which goes over a delay level."""
    _begin(context)
    if context.attempt == 1:
        raise ToolCallError("not at the first try", retry=True, after_s=1.05)
    return {"n": n, "square": n * n}


@app.tool
async def fatal(n: int, context: EffectContext, after_ms: int = 0) -> int:
    """End the whole process without a word."""
    _begin(context)
    await asyncio.sleep(after_ms / 1_000)
    os._exit(3)


@app.tool(retry=RetryPolicy(max_attempts=9, base_delay_s=1.05, max_delay_s=1.05))
async def lethal(n: int, context: EffectContext, how: str = "exit", pad: str = "") -> int:
    """End the whole process, in one way or another, until the gate is open."""
    _begin(context)
    if os.access(_gate, os.F_OK):
        return n
    if how == "retry" and context.attempt == 1:
        raise ToolCallError("not at the first try", retry=True, after_s=1.05)
    if how == "native":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


@app.handler("exec_code")
async def refuse(command: RuntimeEffectCommandExecCode, context: EffectContext) -> object:
    """Refuse whatever it is, which parks it."""
    _begin(context)
    raise RejectEffectError("scenario_refused", f"this worker does not run {command.code!r}")


if "SCENARIO_STANDBY" in os.environ:
    while not Path(os.environ["SCENARIO_STANDBY"]).exists():
        time.sleep(_POLL_S)
