"""Effects that somebody else answers: what waits, and the answer."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter

from effectmq.api.context import Asking, Context, Here
from effectmq.api.models.answers import AnswerAsked, Answered, WaitingPage
from effectmq.api.names import effect_name, identity_of
from effectmq.api.problems import ProblemError
from effectmq.api.routes.effects import meant
from effectmq.api.routes.parameters import Limit, Text, Texts
from effectmq.broker.client.asking.completing import Given, complete
from effectmq.broker.store.journal.archive.facts import waiting_facts
from effectmq.broker.store.letters.audit import AuditLog
from effectmq.broker.transports.port import Transport
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import describe

__all__ = ["router"]

router = APIRouter(tags=["effects"])


@router.get("/answers")
async def waiting(
    here: Here,
    session: Text = "",
    kind: Texts = [],  # noqa: B006
    limit: Limit = 50,
) -> WaitingPage:
    """
    Effects that their handlers handed out and that nobody has answered yet, the nearest deadline
    first. ``value_schema`` is what a value must fit.
    """
    archive = await here.connections.archive()
    found, count = await archive.waiting(session_id=session, kinds=tuple(kind), limit=limit)
    return WaitingPage.model_validate(
        {
            "waiting": [
                {**waiting_facts(each), "id": effect_name(each.identity)} for each in found
            ],
            "total": count,
            "now_ms": await archive.now_ms(),
        }
    )


@router.post("/answers")
async def answer(here: Here, who: Asking, asked: AnswerAsked) -> Answered:
    """
    Answer a handed-out effect, by its token or its name: exactly one of answer, deadline and cancel
    wins, and ``counts`` says whether it is this answer. The same may be given again.
    """
    if bool(asked.token) == bool(asked.id):
        raise ProblemError(422, "not_valid", "give a token, or an id, and one of them only")
    if asked.error is None and "value" not in asked.model_fields_set:
        raise ProblemError(422, "not_valid", "give a value, or an error: one is the answer")
    # As text again: what a JSON document means is decided in one place.
    given = Given(parse_json(json.dumps(asked.value)), asked.error, asked.code)
    which: str | Identity = asked.token or await _named(here, asked.id or "")
    journal = await here.connections.journal()
    audit = AuditLog(await here.connections.letters(), who.name)
    line = await audit.begin("answer", _choice(which, asked))
    try:
        made = await complete(
            journal, which, given, here.connections.names, lambda: _transport(here)
        )
    except EffectmqError as problem:
        await audit.end(line, "answer", {"problem": describe(problem)})
        raise
    await audit.end(line, "answer", {"counts": made.counts, "status": made.status})
    return Answered(
        id=effect_name(made.identity),
        counts=made.counts,
        status=made.status,
        ran_out=made.ran_out,
    )


def _choice(which: str | Identity, asked: AnswerAsked) -> dict[str, Any]:
    """What the audit has of it: neither the token nor the value."""
    named = (
        {"by": "token"}
        if isinstance(which, str)
        else {"scope_id": which.scope_id, "replay_key": which.replay_key}
    )
    return {**named, "refused": asked.error is not None}


async def _named(here: Context, name: str) -> Identity:
    known = identity_of(name)
    if known is not None:
        return known
    return (await meant(await here.connections.archive(), name)).identity


async def _transport(here: Context) -> Transport | None:
    """The broker, if it is there; otherwise the message on its round brings the answer."""
    try:
        return await here.connections.transport()
    except EffectmqError:
        return None
