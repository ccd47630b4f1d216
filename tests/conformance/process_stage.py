"""Registrations, events and scopes for the tests of the process registry."""

from __future__ import annotations

from typing import Any

from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.wire.invocation import CausalRef, RuntimeReplay
from effectmq.protocol.wire.process_event_types import (
    LashSchema,
    ProcessEventSemanticsSpec,
    ProcessEventType,
    ProcessTerminalSpec,
    ProcessValueSelector,
    ProcessWakeDedupeKey,
    ProcessWakeSpec,
)
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutputSuccess,
    ProcessEventAppendRequest,
)
from effectmq.protocol.wire.process_registration import (
    ProcessInput,
    ProcessInputExternal,
    ProcessInputToolCall,
    ProcessProvenance,
    ProcessRegistration,
    ProcessScope,
)
from effectmq.protocol.wire.processes import (
    ProcessHandleDescriptor,
    ProcessStartGrant,
)
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = [
    "DONE",
    "OWNER",
    "TARGET",
    "TOOL",
    "event_type",
    "external",
    "granted",
    "held",
    "registration",
    "request",
    "tool_process",
    "waking",
]

OWNER = ProcessScope(session_id="root")
#: Who is woken: a frame, so that scope and session differ.
TARGET = ProcessScope(session_id="s1", agent_frame_id="f1")
DONE = ProcessAwaitOutputSuccess(value={"done": True})
TOOL = ProcessHandleDescriptor(kind="tool", label="echo")


def external(metadata: JsonValue = None) -> ProcessInputExternal:
    """An input that somebody else runs."""
    return ProcessInputExternal(metadata=metadata)


def tool_process(name: str = "echo", **args: Any) -> ProcessInputToolCall:
    """An input that calls one tool."""
    return ProcessInputToolCall(call=PreparedToolCall(call_id="call-1", tool_name=name, args=args))


def registration(
    id_: str = "p1",
    *event_types: ProcessEventType,
    input_: ProcessInput | None = None,
    owner: ProcessScope = OWNER,
    host_profile_id: str = "default",
    caused_by: CausalRef | None = None,
) -> ProcessRegistration:
    """A process to register."""
    return ProcessRegistration(
        id=id_,
        input=input_ or external(),
        event_types=list(event_types),
        provenance=ProcessProvenance(
            owner_scope=owner, host_profile_id=host_profile_id, caused_by=caused_by
        ),
    )


def event_type(
    name: str,
    schema: JsonValue = None,
    *,
    terminal: ProcessTerminalSpec | None = None,
    wake: ProcessWakeSpec | None = None,
) -> ProcessEventType:
    """A type of event."""
    return ProcessEventType(
        name=name,
        payload_schema=LashSchema(schema_={} if schema is None else schema),
        semantics=ProcessEventSemanticsSpec(terminal=terminal, wake=wake),
    )


def waking(
    name: str,
    input_: ProcessValueSelector = "payload",
    *,
    when: ProcessValueSelector | None = None,
    dedupe_key: ProcessWakeDedupeKey = "event_identity",
    schema: JsonValue = None,
) -> ProcessEventType:
    """A type of event that wakes its target."""
    return event_type(
        name, schema, wake=ProcessWakeSpec(when=when, input=input_, dedupe_key=dedupe_key)
    )


def request(
    name: str,
    payload: JsonValue = None,
    *,
    key: str | None = None,
    target: ProcessScope | None = None,
) -> ProcessEventAppendRequest:
    """An event to append."""
    return ProcessEventAppendRequest(
        event_type=name,
        payload=payload,
        replay=None if key is None else RuntimeReplay(key=key),
        wake_target_scope=target,
    )


async def held(registry: ProcessRegistry, id_: str, *sessions: str) -> None:
    """Register a process to which these sessions hold handles."""
    await registry.register(registration(id_))
    for session in sessions:
        await registry.grant_handle(ProcessScope(session_id=session), id_, TOOL)


def granted(session: str) -> ProcessStartGrant:
    """A handle to grant at the start."""
    return ProcessStartGrant(owner_scope=ProcessScope(session_id=session), descriptor=TOOL)
