"""A small recorded session in a journal, for commands to look at."""

from __future__ import annotations

import asyncio
from pathlib import Path

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.journal import Journal
from effectmq.protocol.identity.invocations import child_effect, turn_effect
from tests.broker.store.journal.effects import Writer, sealed, sleep, tool

__all__ = ["BATCH", "change_journal", "record_session"]

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


def change_journal(url: str, sql: str) -> None:
    """Run one statement on a journal, behind the back of effectmq."""

    async def run() -> None:
        def work(tx: Transaction) -> None:
            tx.execute(sql)

        async with open_database(url) as database:
            await database.write(work)

    asyncio.run(run())


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
