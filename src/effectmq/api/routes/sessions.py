"""Sessions, and one of them as a waterfall."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from effectmq.api.context import Here
from effectmq.api.models.sessions import SessionDetail, SessionPage
from effectmq.api.names import effect_place, written
from effectmq.api.problems import ProblemError
from effectmq.api.routes.parameters import Cursor, Limit
from effectmq.api.views.costs import effect_views
from effectmq.api.views.effects import turn_spans
from effectmq.protocol.text import printable

__all__ = ["router"]

router = APIRouter(tags=["sessions"])


@router.get("/sessions")
async def sessions(here: Here, cursor: Cursor = None, limit: Limit = 50) -> SessionPage:
    """
    Sessions, in which something changed last first.

    One page looks at a few thousand effects at most, so it may be short and have a next one.
    """
    archive = await here.connections.archive()
    found = await archive.sessions(limit=limit, after=effect_place(cursor))
    return SessionPage.model_validate(
        {
            "sessions": [asdict(each) for each in found.sessions],
            "next": written(found.after),
            "now_ms": await archive.now_ms(),
        }
    )


@router.get("/sessions/{session_id:path}")
async def session(here: Here, session_id: str, limit: Limit = 500) -> SessionDetail:
    """The newest effects of a session in the order in which they began, and its turns."""
    archive = await here.connections.archive()
    found = await archive.session(session_id, limit=limit + 1)
    if not found:
        raise ProblemError(
            404,
            "no_such_session",
            f"no effect of the journal is of a session {printable(session_id, 200)!r}",
        )
    more = len(found) > limit
    if more:
        found.remove(min(found, key=lambda each: each.updated_ms))
    insides = await archive.insides(found)
    views = await effect_views(archive, found, insides)
    return SessionDetail.model_validate(
        {
            "session_id": session_id,
            "turns": turn_spans(views),
            "effects": views,
            "more": more,
            "now_ms": await archive.now_ms(),
        }
    )
