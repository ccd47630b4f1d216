"""Who asks, and the session of a browser."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from effectmq.api.access.guard import session_of
from effectmq.api.access.sessions import COOKIE, LIFE_S
from effectmq.api.context import Asking, Here
from effectmq.api.models.fleet import Me, SignIn
from effectmq.api.problems import ProblemError
from effectmq.broker.version import version

__all__ = ["router"]

router = APIRouter(tags=["access"])


@router.get("/me")
async def me(here: Here, who: Asking) -> Me:
    """Who asks, and what they may do."""
    return Me(
        name=who.name,
        role=who.role,
        tokens=bool(here.access.tokens),
        namespace=here.connections.names.namespace,
        version=version(),
    )


@router.post("/session", status_code=204)
async def sign_in(here: Here, asked: SignIn, request: Request) -> Response:
    """
    Change a token for the cookie of a session, which no script can read. For browsers.
    """
    who = here.access.tokens.who(asked.token.strip())
    if who is None:
        raise ProblemError(
            401, "wrong_token", "that is none of the tokens of this server; see EFFECTMQ_API_TOKENS"
        )
    answer = Response(status_code=204)
    answer.set_cookie(
        COOKIE,
        here.access.sessions.begin(who),
        max_age=LIFE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.delete("/session", status_code=204)
async def sign_out(here: Here, request: Request) -> Response:
    """End the session of a browser."""
    here.access.sessions.end(session_of(request.headers))
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
