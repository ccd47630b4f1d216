"""A small recorded session in a journal, for commands to look at."""

from __future__ import annotations

import asyncio
from pathlib import Path

from effectmq.broker.store.journal.journal import Journal
from effectmq.protocol.identity.invocations import child_effect, turn_effect
from tests.broker.store.journal.effects import Writer, sealed, sleep, tool

__all__ = ["BATCH", "record_session"]

#: What the calls of the session were caused by; it is no effect itself.
BATCH = turn_effect(
    "tool_call", "2", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
)


def record_session(path: Path) -> str:
    """
    Record a sleep with a child, a parked call and one in progress.

    Returns:
        The journal's address.
    """
    url = f"sqlite:///{path / 'journal.db'}"
    asyncio.run(_record(url))
    return url


async def _record(url: str) -> None:
    first = sleep("1", duration_ms=5)
    nap = child_effect(first.envelope.invocation, "sleep", "pause", "pause")
    async with Journal(url) as journal:
        writer = Writer(journal, "host-1")
        await writer.complete(first)
        await writer.complete(sealed(nap, {"type": "sleep", "duration_ms": 7}))
        await writer.fail(
            tool(BATCH, "call-1", {"password": "hunter2"}), "no_money", park="rejected"
        )
        await writer.claim(tool(BATCH, "call-2"))
