"""Calls of tools of MCP servers, through a worker."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.consumers.stage import Stage, effect, payload
from tests.consumers.tools.mcp.serving import PATIENCE_S

__all__ = ["called", "calling", "odd_command", "started"]

NUMBERS = itertools.count(1)


def odd_command(log: Path, **listing: Any) -> list[str]:
    """The command that starts a server of no library."""
    told = log.with_suffix(".json")
    told.write_text(json.dumps(listing))
    return [sys.executable, str(Path(__file__).parent / "odd.py"), str(log), str(told)]


def calling(tool_name: str, /, **args: Any) -> RuntimeEffectEnvelope:
    """One call; each is an effect of its own."""
    call = PreparedToolCall(call_id="c", tool_name=tool_name, args=args)
    command = RuntimeEffectCommandToolCall(call=call)
    return effect("tool_call", command, f"{next(NUMBERS)}:c")


async def called(client: EffectClient, tool_name: str, /, **args: Any) -> Any:
    """The payload of one call."""
    return payload(await client.execute(calling(tool_name, **args), timeout=PATIENCE_S))


async def started(stage: Stage, app: EffectWorker, server: Any, **options: Any) -> EffectClient:
    """Register a server, start the worker, and connect a client."""
    app.mcp(server, **{"connect_timeout_s": PATIENCE_S, "time_limit_s": PATIENCE_S, **options})
    await stage.start(app)
    return await stage.client()
