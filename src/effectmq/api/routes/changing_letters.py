"""Dead letters: replay, edit, purge. Each begins an operation, which is asked for its progress."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter

from effectmq.api.context import Asking, Context, Here
from effectmq.api.models.letters import (
    EditAsked,
    LetterChoice,
    Operation,
    OperationList,
    PurgeAsked,
    ReplayAsked,
)
from effectmq.api.operations import Action, Running
from effectmq.api.problems import ProblemError
from effectmq.api.routes.letters import now_ms
from effectmq.api.routes.parameters import since_until
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.dead_letters.patching import Patch
from effectmq.broker.dead_letters.report import DeadReport
from effectmq.broker.store.letters.audit import choice_of
from effectmq.broker.store.letters.filter import DeadFilter
from effectmq.replaying import replay_and_wait

__all__ = ["router"]

router = APIRouter(tags=["dead letters"])

Act = Callable[[DeadDesk, Running], Awaitable[dict[str, Any]]]


def _chosen(choice: LetterChoice) -> DeadFilter:
    since_ms, until_ms = since_until(now_ms(), choice.newer_than_s, choice.older_than_s)
    chosen = DeadFilter(
        ids=tuple(dict.fromkeys(each.lower() for each in choice.ids)),
        kinds=tuple(choice.kinds),
        reasons=tuple(choice.reasons),
        codes=tuple(choice.codes),
        effect_ids=tuple(choice.effect_ids),
        since_ms=since_ms,
        until_ms=until_ms,
        edited=choice.edited,
        routes=tuple(choice.routes),
        tools=tuple(choice.tools),
        models=tuple(choice.models),
        sessions=tuple(choice.sessions),
        errors=tuple(choice.errors),
        text=choice.text,
    )
    if chosen.empty and not choice.all:
        raise ProblemError(
            422,
            "nothing_chosen",
            "which dead letters? Give ids or another member of the choice, or all: true",
        )
    return chosen


async def _begun(
    here: Context, who: Asking, action: Action, chosen: DeadFilter, act: Act, *, dry_run: bool
) -> Operation:
    # What is away is said now, and not by an operation that somebody has to ask for.
    await here.connections.transport()
    await here.connections.letters()

    async def carry_out(running: Running) -> dict[str, Any]:
        async with here.connections.desk(who.name) as desk:
            await desk.refresh()
            return await act(desk, running)

    running = here.operations.begin(action, who.name, choice_of(chosen), carry_out, dry_run=dry_run)
    return Operation.model_validate(running.facts())


def _facts(report: DeadReport, running: Running) -> dict[str, Any]:
    running.progress(report.settled, report.chosen)
    return {**report.facts(), "problems": report.problems, "edits": report.edit_facts()}


@router.post("/dead-letters/replay", status_code=202)
async def replay(here: Here, who: Asking, asked: ReplayAsked) -> Operation:
    """Send dead letters back to the queues of their kinds, as they are."""
    chosen = _chosen(asked.choice)
    if asked.wait_s and not asked.dry_run:
        waiting = _waiting(here, chosen, None, asked.wait_s)
        return await _begun(here, who, "replay", chosen, waiting, dry_run=False)

    async def act(desk: DeadDesk, running: Running) -> dict[str, Any]:
        report = await desk.replay(
            chosen,
            rate=asked.rate,
            limit=asked.limit,
            dry_run=asked.dry_run,
            on_progress=running.progress,
        )
        return _facts(report, running)

    return await _begun(here, who, "replay", chosen, act, dry_run=asked.dry_run)


@router.post("/dead-letters/edit", status_code=202)
async def edit(here: Here, who: Asking, asked: EditAsked) -> Operation:
    """
    Send dead letters back with a patch applied to the envelope of each, or one of them with another
    envelope. When the patch does not fit one of them, none is sent. A dry run has what becomes of
    each in ``report.edits``.
    """
    chosen = _chosen(asked.choice)
    if (asked.patch is None) == (asked.envelope is None):
        raise ProblemError(
            422, "not_valid", "give a patch, or the envelope of one letter, and not both"
        )
    if asked.patch is not None and asked.wait_s:
        raise ProblemError(422, "not_valid", "wait_s is for one letter, and a patch for several")
    if asked.envelope is not None and asked.wait_s and not asked.dry_run:
        document = json.dumps(asked.envelope).encode()
        act = _waiting(here, chosen, document, asked.wait_s)
    elif asked.patch is not None:
        act = _patching(chosen, Patch(asked.patch), asked)
    else:
        act = _replacing(chosen, json.dumps(asked.envelope), asked)
    return await _begun(here, who, "edit", chosen, act, dry_run=asked.dry_run)


def _patching(chosen: DeadFilter, patch: Patch, asked: EditAsked) -> Act:
    async def act(desk: DeadDesk, running: Running) -> dict[str, Any]:
        report = await desk.edit(
            chosen,
            patch,
            rate=asked.rate,
            limit=asked.limit,
            dry_run=asked.dry_run,
            on_progress=running.progress,
        )
        return _facts(report, running)

    return act


def _only(chosen: DeadFilter, what: str) -> str:
    """The id of the one letter that is meant."""
    if len(chosen.ids) != 1 or chosen != DeadFilter(ids=chosen.ids):
        raise ProblemError(
            422, "not_valid", f"{what} is for one letter: give its id, and no other choice"
        )
    return chosen.ids[0]


def _waiting(here: Context, chosen: DeadFilter, document: bytes | None, wait_s: float) -> Act:
    letter_id = _only(chosen, "wait_s")

    async def act(desk: DeadDesk, running: Running) -> dict[str, Any]:
        reply, passed_on = await replay_and_wait(
            here.connections.place,
            await here.connections.transport(),
            desk,
            letter_id,
            document=document,
            timeout_s=wait_s,
            bodies=here.connections.bodies,
        )
        running.progress(1, 1)
        return {
            "dry_run": False,
            "chosen": 1,
            "done": 1,
            "reply": reply.tree(),
            "passed_on": passed_on,
        }

    return act


def _replacing(chosen: DeadFilter, document: str, asked: EditAsked) -> Act:
    letter_id = _only(chosen, "an envelope")

    async def act(desk: DeadDesk, running: Running) -> dict[str, Any]:
        made = await desk.replace(letter_id, document, dry_run=asked.dry_run)
        running.progress(1, 1)
        return {
            "dry_run": asked.dry_run,
            "chosen": 1,
            "done": 1,
            "id": made.letter.id,
            "effect_id": made.request.effect_id,
            "replay_key": made.request.replay_key,
            "route": made.route,
            "edited_from": made.edited_from,
            "hash": made.request.hash,
        }

    return act


@router.post("/dead-letters/purge", status_code=202)
async def purge(here: Here, who: Asking, asked: PurgeAsked) -> Operation:
    """
    Throw dead letters away, for ever.

    With ``expect``, the number that somebody has seen, nothing is begun when it is another by now.
    """
    chosen = _chosen(asked.choice)
    if asked.expect is not None:
        index, _ = await here.letters.index()
        letters = (await index.facets(chosen)).letters
        if letters != asked.expect:
            raise ProblemError(
                409,
                "other_count",
                f"{letters} dead letters are meant, and not {asked.expect}; look again, and give "
                "the number that there is",
            )

    async def act(desk: DeadDesk, running: Running) -> dict[str, Any]:
        report = await desk.purge(
            chosen, limit=asked.limit, dry_run=asked.dry_run, on_progress=running.progress
        )
        return _facts(report, running)

    return await _begun(here, who, "purge", chosen, act, dry_run=asked.dry_run)


@router.get("/operations", tags=["operations"])
async def operations(here: Here) -> OperationList:
    """What goes on in this process, and what has ended of late; the newest first."""
    return OperationList.model_validate(
        {"operations": [each.facts() for each in here.operations.every()]}
    )


@router.get("/operations/{operation_id}", tags=["operations"])
async def operation(here: Here, operation_id: str) -> Operation:
    """One operation, with its progress."""
    return Operation.model_validate(here.operations.get(operation_id).facts())


@router.delete("/operations/{operation_id}", tags=["operations"])
async def stop(here: Here, operation_id: str) -> Operation:
    """Stop an operation; what it has not got to stays as it is."""
    return Operation.model_validate((await here.operations.stop(operation_id)).facts())
