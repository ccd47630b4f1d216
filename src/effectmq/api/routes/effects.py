"""Effects of the journal."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from effectmq.api.connections import Connections
from effectmq.api.context import Here
from effectmq.api.models.effects import Diff, EffectDetail, EffectPage, EffectStatus
from effectmq.api.names import effect_place, identity_of, written
from effectmq.api.problems import ProblemError
from effectmq.api.routes.parameters import Age, Cursor, Limit, Text, Texts, since_until
from effectmq.api.views.costs import effect_views
from effectmq.api.views.effects import shown_payload
from effectmq.broker.store.journal.archive import summaries
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.facts import detail_facts
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.protocol.encoding.differences import differences
from effectmq.protocol.text import printable

__all__ = ["meant", "router"]

router = APIRouter(tags=["effects"])

_KIN = 200


@router.get("/effects")
async def effects(
    here: Here,
    *,
    session: Text = "",
    turn: Text = "",
    scope: Text = "",
    effect_id: Text = "",
    key: Annotated[str, Query(max_length=2_000, description="How the replay key begins.")] = "",
    worker: Text = "",
    kind: Texts = [],  # noqa: B006
    tool: Texts = [],  # noqa: B006
    model: Texts = [],  # noqa: B006
    state: Annotated[list[EffectStatus], Query(max_length=10)] = [],  # noqa: B006
    parked: Texts = [],  # noqa: B006
    newer_than_s: Age = None,
    older_than_s: Age = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> EffectPage:
    """
    Effects, what changed last first.

    By tool or model a page looks at two thousand effects at most, so it may be short and have a
    next one.
    """
    archive = await here.connections.archive()
    now_ms = await archive.now_ms()
    since_ms, until_ms = since_until(now_ms, newer_than_s, older_than_s)
    chosen = EffectFilter(
        kinds=tuple(kind),
        statuses=tuple(state),
        scope_id=scope,
        session_id=session,
        turn_id=turn,
        effect_id=effect_id,
        key_prefix=key,
        park_reasons=tuple(parked),
        worker=worker,
        since_ms=since_ms,
        until_ms=until_ms,
    )
    found = await archive.search(
        chosen, limit=limit, after=effect_place(cursor), tools=tool, models=model
    )
    return EffectPage.model_validate(
        {
            "effects": await effect_views(
                archive,
                [effect for effect, _ in found.effects],
                [inside for _, inside in found.effects],
            ),
            "next": written(found.after),
            "now_ms": now_ms,
        }
    )


async def meant(archive: Archive, name: str, scope: str = "") -> summaries.EffectDetail:
    """
    The effect that a path names: by the id of this API, or as on the command line.

    Raises:
        EffectIdError: When there is none, or more than one.
    """
    identity = identity_of(name)
    if identity is not None:
        return await archive.get_exactly(identity)
    return await archive.get(name, scope_id=scope)


@router.get("/effects/{name}")
async def effect(here: Here, name: str, scope: Text = "") -> EffectDetail:
    """
    Everything about one effect: its id here, its replay key, effect id, or part of its hash.

    Payloads are shown as they are, secrets in them included.
    """
    archive = await here.connections.archive()
    found = await meant(archive, name, scope)
    lineage = await archive.lineage(found, most=_KIN)
    kin = [node.effect for node in lineage.nodes]
    insides = await archive.insides([found, *kin])
    own, *views = await effect_views(archive, [found, *kin], insides)
    return EffectDetail.model_validate(
        {
            **detail_facts(found),
            **own,
            "envelope": shown_payload(found.envelope_json),
            "outcome": shown_payload(found.outcome_json),
            "lineage": [
                {
                    "depth": node.depth,
                    "focus": node.effect.identity == found.identity,
                    "effect": view,
                }
                for node, view in zip(lineage.nodes, views, strict=True)
            ],
            "lineage_cause": shown_payload(lineage.cause),
            "lineage_more": lineage.more,
            "now_ms": await archive.now_ms(),
        }
    )


@router.get(
    "/effects/{name}/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream(here: Here, name: str, scope: Text = "") -> StreamingResponse:
    """
    What an effect streams, as server-sent events, until it ends: ``event: text`` with
    ``{"attempt": 1, "number": 0, "chunks": 2, "text": "…"}``.

    The text begins when somebody asks for it. ``number`` is that of its first chunk, so that a gap
    shows; a higher ``attempt`` starts the text again. ``event: progress`` with ``{"attempt": 1,
    "done": 3, "total": 12, "note": "…"}`` says how far it is. The last is ``event: end`` with
    ``{"status": "completed"}``. ``event: trouble`` with ``{"detail": "…"}`` says why there is no
    text for now.
    """
    archive = await here.connections.archive()
    found = await meant(archive, name, scope)
    return StreamingResponse(
        here.streams.listen(found.identity),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


@router.get("/effects/{name}/diff/{other}")
async def diff(here: Here, name: str, other: str, scope: Text = "", limit: Limit = 100) -> Diff:
    """What differs between two effects: in their envelopes, and in their outcomes."""
    one, another = (
        await _side(here.connections, name, scope),
        await _side(here.connections, other, scope),
    )
    changes: list[dict[str, Any]] = []
    for part, before, after in zip(("envelope", "outcome"), one, another, strict=True):
        if before is not None and after is not None:
            found = islice(differences(before, after), limit + 1 - len(changes))
            changes += [
                {
                    "part": part,
                    "change": each.change,
                    "path": each.path,
                    "before": each.before,
                    "after": each.after,
                }
                for each in found
            ]
    return Diff.model_validate(
        {"same": not changes, "changes": changes[:limit], "more": len(changes) > limit}
    )


async def _side(connections: Connections, name: str, scope: str) -> tuple[object, object]:
    found = await meant(await connections.archive(), name, scope)
    if not found.envelope_json:
        raise ProblemError(
            409,
            "not_kept",
            f"the envelope of {printable(name, 200)!r} is not kept (it is {found.status}), so "
            "there is nothing to compare",
        )
    return shown_payload(found.envelope_json), shown_payload(found.outcome_json)
