"""What was paid before a person was asked is counted."""

from __future__ import annotations

from pathlib import Path

from effectmq import Client, ToolCall, ToolContext, WaitForAnswer, Worker
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.spend.book import SpendBook
from tests.waiting import eventually


async def test_what_was_paid_is_written_with_the_question(tmp_path: Path) -> None:
    """Because no attempt of this effect comes after it."""
    url = f"sqlite:///{tmp_path}/journal.db"
    worker = Worker(f"memory://{tmp_path.name}", journal=url)

    @worker.tool
    async def ask(context: ToolContext) -> int | WaitForAnswer:
        context.spend("search", usd="0.25")
        return context.wait_for_answer(note="How many?", deadline_s=3_600)

    async with worker, Client(place=worker.place) as client, open_archive(url) as archive:
        (envelope,) = client.turn("s", "t").tool_envelopes([ToolCall("ask", {}, "c")])
        await client.submit(envelope)

        async def waits() -> bool:
            return (await archive.waiting())[1] == 1

        await eventually(waits)
        (row,) = await SpendBook(archive.database).by("all")
        assert row.sums.nanos == 250_000_000
        assert await client.complete(envelope, 3)
