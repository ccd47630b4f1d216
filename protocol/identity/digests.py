"""
Ids and hashes that are derived from other data: scope ids, operation ids, digests, fixed keys.

All are pure functions, and all are part of the wire contract: two hosts that derive one differently
do not recognise each other's records. ``H(x)`` is SHA-256 over compact JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from effectmq.protocol.encoding.canonical import digest, sha256_hex
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.encoding.serde.model import stable_hash
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefEffect,
    CausalRefProcess,
    CausalRefProcessEvent,
    CausalRefToolCall,
    CausalRefTurn,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.scopes import (
    EffectScope,
    EffectScopeCron,
    EffectScopeHostEvent,
    EffectScopeProcess,
    EffectScopeQueueDrain,
    EffectScopeRuntimeOperation,
    EffectScopeSessionDelete,
    EffectScopeTurn,
)
from effectmq.protocol.wire.transfers import transfer_digest

if TYPE_CHECKING:
    from effectmq.protocol.wire.llm_request import LlmRequestSpec
    from effectmq.protocol.wire.process_commands import ProcessCommand
    from effectmq.protocol.wire.process_events import ProcessEventAppendRequest
    from effectmq.protocol.wire.process_registration import ProcessRegistration, ProcessScope

__all__ = [
    "attachment_content_id",
    "cancel_request",
    "cancel_request_key",
    "direct_discriminator",
    "effect_scope_id_of",
    "effect_scope_of",
    "event_key",
    "event_payload_hash",
    "lease_token",
    "prepared_registration",
    "process_operation_id",
    "process_scope_id",
    "registration_hash",
    "run_name",
    "scope_id",
    "scope_session_id",
    "signal_key",
    "terminal_event_key",
    "tool_host_event_id",
    "transfer_digest",
    "wake_dedupe_key",
    "wake_id",
    "wake_source_key",
]


# Scopes


def effect_scope_of(invocation: RuntimeInvocation) -> EffectScope:
    """
    Derive the effect scope of an envelope that came without one.

    Returns:
        The turn when the invocation has a turn id that is not blank, else the runtime operation
        named by the session id.
    """
    scope = invocation.scope
    if scope.turn_id is not None and not is_blank(scope.turn_id):
        return EffectScopeTurn(session_id=scope.session_id, turn_id=scope.turn_id)
    return EffectScopeRuntimeOperation(operation_id=scope.session_id)


def effect_scope_id_of(invocation: RuntimeInvocation) -> str:
    """Return the ``scope_id`` of ``effect_scope_of``, without making the scope."""
    scope = invocation.scope
    if scope.turn_id is not None and not is_blank(scope.turn_id):
        return scope.turn_id
    return scope.session_id


def scope_id(scope: EffectScope) -> str:
    """Return the id under which the effects of a scope are recorded, one of its own fields."""
    match scope:
        case EffectScopeTurn():
            return scope.turn_id
        case EffectScopeProcess():
            return scope.process_id
        case EffectScopeHostEvent():
            return scope.event_id
        case EffectScopeQueueDrain():
            return scope.drain_id
        case EffectScopeCron():
            return scope.execution_id
        case EffectScopeSessionDelete():
            return scope.session_id
        case EffectScopeRuntimeOperation():
            return scope.operation_id


def scope_session_id(scope: EffectScope) -> str | None:
    """Return the session that an effect scope belongs to, if it belongs to one."""
    return getattr(scope, "session_id", None)


def process_scope_id(scope: ProcessScope) -> str:
    """Return the id of a session or agent frame as an owner of processes; nothing is escaped."""
    return scope.id()


def tool_host_event_id(source_type: str, payload: object, call_id: str | None = None) -> str:
    """
    Return the ``event_id`` of the scope in which an event emitted by a tool is handled.

    Args:
        source_type: ``{alias}.{event}``.
        payload: The event's payload.
        call_id: The tool call that emitted it.

    Raises:
        MalformedError: When the payload is not JSON.
    """
    if call_id is not None:
        return f"tool:{call_id}:{source_type}"
    return f"tool:{source_type}:sha256:{digest([source_type, canonical_value(payload)])}"


# Operations


def process_operation_id(command: ProcessCommand) -> str:
    """Return the effect id of an operation on processes."""
    return command.effect_id()


def direct_discriminator(
    request: LlmRequestSpec, *, replay_key: str | None = None, cause: CausalRef | None = None
) -> str:
    """
    Return the effect id of a direct request.

    Args:
        request: The request.
        replay_key: The caller's own name for the request; empty counts as none.
        cause: The cause of the request.
    """
    body = f"request:{replay_key}" if replay_key else f"sha256:{stable_hash(request)}"
    return f"{_cause_prefix(cause)}{body}"


def _cause_prefix(cause: CausalRef | None) -> str:
    match cause:
        case None:
            return ""
        case CausalRefTurn():
            return f"cause:turn:{cause.session_id}:{cause.turn_id}:"
        case CausalRefEffect():
            return f"cause:effect:{cause.session_id}:{cause.turn_id or ''}:{cause.effect_id}:"
        case CausalRefToolCall():
            return f"cause:tool_call:{cause.session_id}:{cause.call_id}:"
        case CausalRefProcess():
            return f"cause:process:{cause.process_id}:"
        case CausalRefProcessEvent():
            return f"cause:process_event:{cause.process_id}:{cause.sequence}:"
        case _:
            return f"cause:session_node:{cause.session_id}:{cause.node_id}:"


def run_name(invocation: RuntimeInvocation) -> str:
    """Return the name under which a journaled host runs an effect."""
    if invocation.replay is not None:
        return f"lash:{invocation.replay.key}"
    subject = invocation.subject
    if isinstance(subject, RuntimeSubjectEffect):
        return f"lash:{subject.kind}:{subject.effect_id}"
    return "lash:runtime-invocation"


# Registration, events, wakes


def prepared_registration(registration: ProcessRegistration) -> ProcessRegistration:
    """Return a registration with the missing standard event types appended."""
    # Made when they are first asked for.
    from effectmq.protocol.wire.process_event_types import STANDARD_EVENT_TYPES

    names = {event_type.name for event_type in registration.event_types}
    missing = [standard for standard in STANDARD_EVENT_TYPES if standard.name not in names]
    if not missing:
        return registration
    event_types = [*registration.event_types, *missing]
    return registration.model_copy(update={"event_types": event_types})


def registration_hash(registration: ProcessRegistration) -> str:
    """Return the hash of a registration, computed after preparing it."""
    return stable_hash(prepared_registration(registration))


def event_payload_hash(event_type: str, payload: object) -> str:
    """
    Return the hash that tells whether an event appended twice is the same one.

    Raises:
        MalformedError: When the payload is not JSON.
    """
    return digest([event_type, canonical_value(payload)])


def wake_id(target_scope_id: str, dedupe_key: str) -> str:
    """Return the id of a wake; wakes of one target with the same key count as one."""
    return f"wake:{digest([target_scope_id, dedupe_key])}"


def attachment_content_id(data: bytes) -> str:
    """Return the id of an attachment: the SHA-256 of its bytes, no JSON around them."""
    return sha256_hex(data)


def lease_token(process_id: str, owner_id: str, now_ms: int, fencing_token: int) -> str:
    """
    Return the token of a lease.

    Args:
        process_id: The process.
        owner_id: The holder of the lease.
        now_ms: The time of the lease, Unix milliseconds.
        fencing_token: The lease's number among those of the process.
    """
    return sha256_hex(f"{process_id}:{owner_id}:{now_ms}:{fencing_token}".encode())


# Fixed keys


def cancel_request_key(process_id: str, reason: str | None) -> str:
    """Return the replay key of a request to cancel; the same reason gives the same key."""
    payload_hash = event_payload_hash("process.cancel_requested", {"reason": reason})
    return f"process:{process_id}:cancel_requested:{payload_hash}"


def cancel_request(process_id: str, reason: str | None) -> ProcessEventAppendRequest:
    """Return the event that asks a process to stop."""
    # Loaded by whoever has a process to stop.
    from effectmq.protocol.wire.process_events import ProcessEventAppendRequest

    return ProcessEventAppendRequest(
        event_type="process.cancel_requested",
        payload={"reason": reason},
        replay=RuntimeReplay(key=cancel_request_key(process_id, reason)),
    )


def terminal_event_key(process_id: str, event_type: str) -> str:
    """Return the replay key of the event that completes a process."""
    return f"process:{process_id}:terminal:{event_type}"


def signal_key(process_id: str, signal_id: str) -> str:
    """Return the replay key of a signal."""
    return f"process:{process_id}:signal:{signal_id}"


def event_key(process_id: str, ordinal: int) -> str:
    """
    Return the replay key of a yield or wake that a process's own code emits.

    Args:
        process_id: The process.
        ordinal: Counts the events of one run from 0.
    """
    return f"process:{process_id}:event:{ordinal}"


def wake_source_key(process_id: str, sequence: int) -> str:
    """Return the key under which the wake of an event is queued as work."""
    return f"process:{process_id}:event:{sequence}:wake"


def wake_dedupe_key(process_id: str, sequence: int) -> str:
    """Return the dedupe key of a wake that is identified by its event."""
    return f"{process_id}:{sequence}"
