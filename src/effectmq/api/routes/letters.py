"""Dead letters: looks at them, and who did what."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from effectmq.api.context import Context, Here
from effectmq.api.models.letters import (
    AuditPage,
    FacetReport,
    LetterDetail,
    LetterPage,
)
from effectmq.api.names import letter_place, written_letter
from effectmq.api.routes.parameters import Age, Cursor, Limit, Texts, since_until
from effectmq.broker.dead_letters.content import dead_record
from effectmq.broker.store.letters.filter import DeadFilter
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.opaque import last_values
from effectmq.protocol.messages.dead_letter import read_dead_letter

__all__ = ["now_ms", "router"]

router = APIRouter(tags=["dead letters"])


def now_ms() -> int:
    """The clock of this process, Unix milliseconds; letters are parked by those of workers."""
    return round(time.time() * 1_000)


def _chosen(
    *,
    id: Texts = [],  # noqa: B006
    kind: Texts = [],  # noqa: B006
    reason: Texts = [],  # noqa: B006
    route: Texts = [],  # noqa: B006
    tool: Texts = [],  # noqa: B006
    model: Texts = [],  # noqa: B006
    code: Texts = [],  # noqa: B006
    session: Texts = [],  # noqa: B006
    effect_id: Texts = [],  # noqa: B006
    error: Annotated[list[str], Query(max_length=100, description="As facets name them.")] = [],  # noqa: B006
    text: Annotated[str, Query(max_length=1_000, description="A piece of code or message.")] = "",
    edited: bool | None = None,
    newer_than_s: Age = None,
    older_than_s: Age = None,
) -> DeadFilter:
    since_ms, until_ms = since_until(now_ms(), newer_than_s, older_than_s)
    return DeadFilter(
        ids=tuple(dict.fromkeys(each.lower() for each in id)),
        kinds=tuple(kind),
        reasons=tuple(reason),
        codes=tuple(code),
        effect_ids=tuple(effect_id),
        since_ms=since_ms,
        until_ms=until_ms,
        edited=edited,
        routes=tuple(route),
        tools=tuple(tool),
        models=tuple(model),
        sessions=tuple(session),
        errors=tuple(error),
        text=text,
    )


Chosen: TypeAlias = Annotated[DeadFilter, Depends(_chosen)]


@router.get("/dead-letters")
async def letters(
    here: Here,
    chosen: Chosen,
    cursor: Cursor = None,
    limit: Limit = 50,
    *,
    newest_first: bool = True,
) -> LetterPage:
    """Dead letters that are meant. Looking takes nothing away and keeps nobody out."""
    index, exact = await here.letters.index()
    page = await index.page(
        chosen, limit=limit, after=letter_place(cursor), newest_first=newest_first
    )
    return LetterPage.model_validate(
        {
            "letters": [asdict(each) for each in page.letters],
            "next": written_letter(page.after),
            "total": (await index.counts()).letters,
            "exact": exact,
            "now_ms": now_ms(),
        }
    )


@router.get("/dead-letters/facets")
async def facets(here: Here, chosen: Chosen) -> FacetReport:
    """How many of the dead letters that are meant have what."""
    index, exact = await here.letters.index()
    found = await index.facets(chosen)
    return FacetReport.model_validate(
        {
            "letters": found.letters,
            "oldest_ms": found.oldest_ms or None,
            "facets": found.counts,
            "exact": exact,
            "now_ms": now_ms(),
        }
    )


@router.get("/dead-letters/audit")
async def audit(here: Here, limit: Limit = 100) -> AuditPage:
    """Who did what to dead letters and effects, the newest first."""
    lines = await (await here.letters.audit()).lines(limit)
    return AuditPage.model_validate({"lines": [line.facts() for line in lines], "now_ms": now_ms()})


@router.get(
    "/dead-letters/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export(here: Here, chosen: Chosen, redact: Texts = []) -> StreamingResponse:  # noqa: B006
    """
    Everything about every dead letter that is meant, one JSON object a line, the oldest first, as
    ``effectmq dead export`` has it.
    """
    await here.letters.index()
    # What is away is said before the first line.
    await here.connections.transport()
    return StreamingResponse(_lines(here, chosen, redact), media_type="application/x-ndjson")


async def _lines(here: Context, chosen: DeadFilter, redact: list[str]) -> AsyncGenerator[bytes]:
    async with here.connections.desk() as desk:
        async for facts in desk.every(chosen):
            message = await desk.index.message(facts.id)
            if message is None:
                # Somebody settled it meanwhile.
                continue
            found = read_dead_letter(*message)
            record, _ = dead_record(found, await desk.content(found), redact=redact)
            record["envelope"] = last_values(record["envelope"])
            yield canonical_json(record) + b"\n"


@router.get("/dead-letters/{letter_id}")
async def letter(here: Here, letter_id: str, redact: Texts = []) -> LetterDetail:  # noqa: B006
    """
    Everything about one dead letter, by its id or enough of it.

    Payloads are shown as they are; ``redact`` masks paths in them, as ``effectmq dead show`` does.
    """
    await here.letters.index()
    async with here.connections.desk() as desk:
        found = await desk.find(letter_id.lower())
        content = await desk.content(found)
    record, _ = dead_record(found, content, redact=redact)
    record["envelope"] = last_values(record["envelope"])
    return LetterDetail(id=found.id, record=record, replayable=not content.problem, now_ms=now_ms())
