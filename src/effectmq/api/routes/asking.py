"""What is asked of workers: submit, cancel, ping."""

from __future__ import annotations

import json
import secrets
from typing import Any

from fastapi import APIRouter, Response

from effectmq.api.context import Asking, Context, Here
from effectmq.api.models.effects import CancelAsked, Cancelled, Submission, Submitted
from effectmq.api.models.fleet import PingAsked, PingReport
from effectmq.api.models.letters import Operation
from effectmq.api.names import effect_name, identity_of
from effectmq.api.operations import Running
from effectmq.api.problems import ProblemError
from effectmq.api.routes.effects import meant
from effectmq.api.routes.fleet import checked_routes
from effectmq.api.routes.parameters import since_until
from effectmq.broker.client.asking.by_hand import ByHand
from effectmq.broker.client.asking.cancelling import announce_cancel
from effectmq.broker.client.asking.cancelling_many import cancel_and_note
from effectmq.broker.client.asking.cancelling_one import cancel_one
from effectmq.broker.client.pinging import ping
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectIdError
from effectmq.broker.store.journal.records import Effect
from effectmq.broker.store.letters.audit import AuditLog, choice_of
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import EffectmqError, EffectTimeoutError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["router"]

router = APIRouter()

#: How long the broker may take to have an effect, in seconds.
_SUBMIT_S = 10.0


@router.post("/effects", status_code=202, tags=["effects"])
async def submit(here: Here, asked: Submission) -> Submitted:
    """
    Submit an effect, and wait for its outcome when asked to.

    It is answered when the broker has the effect. ``reply`` is null when no answer came in time;
    the effect goes on.
    """
    envelope = _envelope(asked)
    client = await here.connections.client()
    handle = await client.submit(
        envelope,
        lane=asked.lane,
        delay_s=asked.delay_s,
        not_before=asked.not_before,
        debounce=asked.debounce,
        debounce_max_s=asked.debounce_max_s,
        timeout=_SUBMIT_S,
    )
    reply: Any = None
    if asked.wait_s:
        try:
            reply = (await handle.reply(asked.wait_s)).tree()
        except EffectTimeoutError:
            reply = None
    return Submitted(
        id=effect_name(Identity(handle.scope_id, handle.replay_key)),
        effect_id=handle.effect_id,
        scope_id=handle.scope_id,
        replay_key=handle.replay_key,
        hash=handle.hash,
        reply=reply,
    )


def _envelope(asked: Submission) -> RuntimeEffectEnvelope:
    given = [each for each in (asked.envelope, asked.tool, asked.kind) if each is not None]
    if len(given) != 1:
        raise ProblemError(422, "not_valid", "give an envelope, or a tool, or a kind, and one only")
    # As text again: what a JSON document means is decided in one place.
    if asked.envelope is not None:
        return from_tree(RuntimeEffectEnvelope, parse_json(json.dumps(asked.envelope)))
    args = parse_json(json.dumps(asked.args))
    assert isinstance(args, dict)
    made = ByHand(
        session_id=asked.session,
        turn_id=asked.turn or f"api-{secrets.token_hex(6)}",
        call_id=asked.call_id,
    )
    if asked.tool is not None:
        return made.tool_call(asked.tool, args)
    kind = asked.kind or ""
    if kind not in EFFECT_KINDS:
        raise ProblemError(
            422,
            "no_such_kind",
            f"there is no effect kind {kind[:100]!r}, expected one of {', '.join(EFFECT_KINDS)}",
        )
    return made.command(kind, args)


@router.post("/effects/cancel", tags=["effects"], responses={202: {"model": Operation}})
async def cancel(
    here: Here, who: Asking, asked: CancelAsked, answer: Response
) -> Cancelled | Operation:
    """
    Cancel one effect by its name, or by a filter every effect in progress that it means.

    One is decided at once. Several are an operation (status 202). What no worker has seen yet is in
    no journal: cancel it by scope_id and replay_key.
    """
    one = bool(asked.id or asked.replay_key)
    chosen = await _several(here, asked)
    if one and chosen != EffectFilter():
        raise ProblemError(
            422, "not_valid", "give one effect, or members that choose several, but not both"
        )
    if one:
        return await _cancel_one(here, who, asked)
    if chosen == EffectFilter() and not asked.all:
        raise ProblemError(
            422,
            "nothing_chosen",
            "which effects? Give an id, or members that choose several, or all: true",
        )
    answer.status_code = 202
    return await _cancel_many(here, who, asked, chosen)


async def _several(here: Context, asked: CancelAsked) -> EffectFilter:
    now_ms = await (await here.connections.archive()).now_ms()
    since_ms, until_ms = since_until(now_ms, asked.newer_than_s, asked.older_than_s)
    return EffectFilter(
        kinds=tuple(asked.kinds),
        session_id=asked.session,
        turn_id=asked.turn,
        worker=asked.worker,
        since_ms=since_ms,
        until_ms=until_ms,
    )


async def _cancel_one(here: Context, who: Asking, asked: CancelAsked) -> Cancelled:
    effect = await _effect(here, asked)
    name = effect_name(effect.identity)
    if asked.dry_run:
        raise ProblemError(422, "not_valid", "a dry run is for several; look at one effect instead")
    journal = await here.connections.journal()
    audit = AuditLog(await here.connections.letters(), who.name)
    choice = {
        "scope_id": effect.identity.scope_id,
        "replay_key": effect.identity.replay_key,
        "reason": asked.reason,
    }
    line = await audit.begin("cancel", choice)
    made = await cancel_one(journal, effect, asked.reason)
    await audit.end(line, "cancel", {"won": made.won, "status": made.status})
    if made.won == "cancelled":
        await _announce(here, effect)
    return Cancelled(id=name, won=made.won, status=made.status or None)


async def _effect(here: Context, asked: CancelAsked) -> Effect:
    archive = await here.connections.archive()
    unseen = (
        Identity(asked.scope_id, asked.replay_key)
        if asked.scope_id and asked.replay_key
        else identity_of(asked.id or "")
    )
    try:
        if unseen is not None:
            found = await archive.get_exactly(unseen)
        else:
            name = asked.id or asked.replay_key or ""
            found = await meant(archive, name, asked.scope_id or "")
    except EffectIdError:
        if unseen is None:
            raise
        # No worker has seen it yet: its name is known, and is enough.
        return Effect(unseen)
    return Effect(found.identity, found.hash, kind=found.kind, effect_id=found.effect_id)


async def _announce(here: Context, effect: Effect) -> None:
    """Tell the workers, if the broker is there; otherwise they learn it by themselves."""
    try:
        transport = await here.connections.transport()
    except EffectmqError:
        return
    named = {"effect_id": effect.effect_id, "hash": effect.hash}
    await announce_cancel(transport, here.connections.names, effect.identity, named)


async def _cancel_many(
    here: Context, who: Asking, asked: CancelAsked, chosen: EffectFilter
) -> Operation:
    archive, journal = await here.connections.archive(), await here.connections.journal()

    async def act(running: Running) -> dict[str, Any]:
        report = await cancel_and_note(
            archive,
            journal,
            chosen,
            asked.reason,
            who=who.name,
            limit=asked.limit,
            dry_run=asked.dry_run,
            announce=lambda effect: _announce(here, effect),
            on_progress=running.progress,
        )
        running.progress(report.chosen, report.chosen)
        return report.facts()

    running = here.operations.begin(
        "cancel", who.name, choice_of(chosen), act, dry_run=asked.dry_run
    )
    return Operation.model_validate(running.facts())


@router.post("/ping", tags=["fleet"])
async def ping_routes(here: Here, asked: PingAsked) -> PingReport:
    """Send a probe through the queue of each route to a worker, and back."""
    transport, names = await here.connections.transport(), here.connections.names
    routes = checked_routes(asked.routes) or [
        kind for kind in EFFECT_KINDS if await transport.stats(names.work_queue(kind)) is not None
    ]
    if not routes or not await transport.has_exchange(names.control):
        raise ProblemError(
            409,
            "no_worker",
            f"no worker was ever started in namespace {names.namespace!r} on this broker; start "
            "one, or check namespace and broker",
        )
    found = await ping(transport, names, dict.fromkeys(routes), asked.timeout_s)
    return PingReport.model_validate(
        {
            "routes": [
                {
                    "route": each.route,
                    "worker": each.worker or None,
                    "ms": None if each.problem else round(each.took_s * 1_000, 1),
                    "problem": each.problem or None,
                }
                for each in found
            ]
        }
    )
