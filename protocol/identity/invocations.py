"""
Builds invocations: scope, subject, cause and replay key, for every sort of effect.

The replay key names an effect for ever, so it is made only of data that is the same when the same
program runs again: ids, counters, names. These functions are the whole list; another host would
not find an id that was made in another way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from effectmq.protocol.exact import effects as exact
from effectmq.protocol.identity.digests import direct_discriminator
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefProcess,
    RuntimeEffectKind,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectProcessEvent,
    RuntimeSubjectSessionNode,
)

if TYPE_CHECKING:
    from effectmq.protocol.wire.llm_request import LlmRequestSpec
    from effectmq.protocol.wire.process_commands import ProcessCommand

__all__ = [
    "causal_ref",
    "child_effect",
    "delete_session",
    "direct",
    "effect_id_of",
    "language_sleep",
    "process_event",
    "process_op",
    "replay_key_of",
    "session_node",
    "tool_call",
    "tool_calls",
    "tool_retry_sleep",
    "turn_effect",
]


def effect_id_of(invocation: RuntimeInvocation) -> str | None:
    """Return the effect id of an invocation, or None when it is not about an effect."""
    return invocation.effect_id()


def replay_key_of(invocation: RuntimeInvocation) -> str | None:
    """Return the replay key of an invocation, if it has one."""
    return invocation.replay_key()


def causal_ref(invocation: RuntimeInvocation) -> CausalRef:
    """Return the reference that names an invocation as the cause of another."""
    return invocation.causal_ref()


def turn_effect(
    kind: RuntimeEffectKind,
    effect_id: str,
    *,
    session_id: str,
    turn_id: str,
    turn_index: int,
    protocol_iteration: int,
) -> RuntimeInvocation:
    """
    Invoke an effect of a turn itself: a model call, code, a checkpoint, a sync, a batch of tools.

    Args:
        kind: The effect's kind.
        effect_id: The turn's effect counter as decimal text; it starts at 1.
        session_id: The session.
        turn_id: The turn.
        turn_index: Counts the turns of the session from 0.
        protocol_iteration: Counts the model calls of the turn from 0.
    """
    scope = exact.turn_scope(session_id, turn_id, turn_index, protocol_iteration)
    key = f"{session_id}:{turn_id}:{turn_index}:{protocol_iteration}:{kind}:{effect_id}"
    return exact.effect_invocation(scope, effect_id, kind, key)


def child_effect(
    parent: RuntimeInvocation, kind: RuntimeEffectKind, effect_id: str, suffix: str
) -> RuntimeInvocation:
    """
    Invoke an effect on behalf of another invocation.

    Args:
        parent: Gives the scope, the cause and the start of the replay key.
        kind: The effect's kind.
        effect_id: Names the effect inside the scope.
        suffix: Ends the replay key.
    """
    base = _first(parent.replay_key(), _first(parent.effect_id(), "effect"))
    cause = exact.causal_ref(parent)
    return exact.effect_invocation(parent.scope, effect_id, kind, f"{base}:{suffix}", cause)


def _first(text: str | None, otherwise: str) -> str:
    """Return a text, which may be empty, or another one when it is ``None``."""
    return otherwise if text is None else text


def tool_call(batch: RuntimeInvocation, call_id: str) -> RuntimeInvocation:
    """
    Invoke one tool call.

    Args:
        batch: The turn effect of the batch, its kind ``tool_call``.
        call_id: The call's id, given by the model.
    """
    (invocation,) = tool_calls(batch, [call_id])
    return invocation


def tool_calls(batch: RuntimeInvocation, call_ids: Iterable[str]) -> list[RuntimeInvocation]:
    """
    Invoke the tool calls of one batch; each is a child effect, named by its call's id.

    Args:
        batch: The turn effect of the batch, its kind ``tool_call``.
        call_ids: The calls' ids, given by the model.
    """
    name = _first(batch.effect_id(), "effect")
    base = _first(batch.replay_key(), name)
    cause = exact.causal_ref(batch)
    return [
        exact.effect_invocation(
            batch.scope, f"{name}:{call_id}", "tool_call", f"{base}:{call_id}", cause
        )
        for call_id in call_ids
    ]


def tool_retry_sleep(
    tool_name: str,
    attempt: int,
    *,
    parent: RuntimeInvocation | None = None,
    session_id: str = "",
    call_id: str | None = None,
) -> RuntimeInvocation:
    """
    Invoke the pause before a tool is run again.

    Args:
        tool_name: The tool.
        attempt: The attempt that failed, from 1.
        parent: The tool call's invocation, when it is known.
        session_id: Without a parent: the session.
        call_id: Without a parent: the call, if it has an id.
    """
    suffix = f"{tool_name}:attempt:{attempt}:sleep"
    if parent is not None:
        effect_id = f"{_first(parent.effect_id(), 'effect')}:{suffix}"
        return child_effect(parent, "sleep", effect_id, suffix)
    name = f"lash-tool:{session_id}:{_first(call_id, 'unknown')}:{suffix}"
    return RuntimeInvocation.effect(RuntimeScope.new(session_id), name, "sleep", name)


def language_sleep(
    language_scope: str,
    ordinal: int,
    *,
    parent: RuntimeInvocation | None = None,
    session_id: str = "",
) -> RuntimeInvocation:
    """
    Invoke a sleep that code asks for.

    Args:
        language_scope: ``foreground`` for the code of a turn, ``process:{process_id}`` for a
            process.
        ordinal: Counts the sleeps of one execution from 0.
        parent: The invocation of the code, when it is known.
        session_id: Without a parent: the session.
    """
    name = f"lashlang:{language_scope}:sleep:{ordinal}"
    if parent is not None:
        effect_id = f"{_first(parent.effect_id(), 'effect')}:{name}"
        return child_effect(parent, "sleep", effect_id, name)
    return RuntimeInvocation.effect(RuntimeScope.new(session_id), name, "sleep", name)


def process_op(
    command: ProcessCommand, *, session_id: str, parent: RuntimeInvocation | None = None
) -> RuntimeInvocation:
    """
    Invoke an operation on processes.

    Args:
        command: The operation.
        session_id: The session that asks.
        parent: The invocation on whose behalf it asks.
    """
    name = command.effect_id()
    scope = RuntimeScope.new(session_id)
    if parent is None:
        return RuntimeInvocation.effect(scope, name, "process", f"{session_id}:{name}")
    if parent.scope.turn_id is not None:
        scope = parent.scope.model_copy(update={"session_id": session_id})
    base = _first(parent.replay_key(), "process")
    cause = parent.causal_ref()
    return RuntimeInvocation.effect(scope, name, "process", f"{base}:{name}", cause)


def delete_session(session_id: str) -> RuntimeInvocation:
    """
    Invoke the deletion of a session as the host's own API does.

    The process service uses ``process_op``, which gives the same effect id but another key.
    """
    return RuntimeInvocation.effect(
        RuntimeScope.new(session_id),
        f"process:delete-session:{session_id}",
        "process",
        f"{session_id}:delete-session",
    )


def direct(
    request: LlmRequestSpec,
    usage_source: str,
    *,
    session_id: str,
    turn_id: str | None = None,
    replay_key: str | None = None,
    cause: CausalRef | None = None,
) -> RuntimeInvocation:
    """
    Invoke a model call outside of the turn's own conversation.

    Args:
        request: The request.
        usage_source: The name under which its tokens are counted.
        session_id: The session.
        turn_id: The turn; an empty one is in the scope but not in the key.
        replay_key: The caller's own name for the request; empty counts as none.
        cause: The cause.
    """
    name = direct_discriminator(request, replay_key=replay_key, cause=cause)
    start = f"{session_id}:{turn_id}" if turn_id else session_id
    scope = RuntimeScope(session_id=session_id, turn_id=turn_id)
    key = f"{start}:direct:{usage_source}:{name}"
    return RuntimeInvocation.effect(scope, name, "direct", key, cause)


def process_event(
    owner_session_id: str,
    process_id: str,
    sequence: int,
    event_type: str,
    replay: RuntimeReplay | None = None,
) -> RuntimeInvocation:
    """
    Describe an event of a process; this is not an effect.

    Args:
        owner_session_id: The session of the process's owner scope.
        process_id: The process.
        sequence: The event's number in it, from 1.
        event_type: The event's type.
        replay: The replay of the request to append.
    """
    return RuntimeInvocation(
        scope=RuntimeScope.new(owner_session_id),
        subject=RuntimeSubjectProcessEvent(
            process_id=process_id, sequence=sequence, event_type=event_type
        ),
        caused_by=CausalRefProcess(process_id=process_id),
        replay=replay,
    )


def session_node(session_id: str, node_id: str) -> RuntimeInvocation:
    """Describe a node of the session graph; this is not an effect."""
    return RuntimeInvocation(
        scope=RuntimeScope.new(session_id),
        subject=RuntimeSubjectSessionNode(node_id=node_id),
    )
