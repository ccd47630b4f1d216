"""
Models that a program makes by the thousand, each without a dict of its own.

A tool call that a program has in flight is eight small models. CPython keeps the members of an
object beside one table of names for its class. That takes half of the memory of an object with a
dict, and gives the garbage collector less to look at, for as long as nobody asks for the dict.

Everything is written out for each class: a loop over names takes three times as long. What is made
is equal to the validated model in every respect, and nothing is checked; arguments are all fields
in the order of the class, as validation would have left them.

What reads a model returns its fields, to be read only, and raises ``NotExact`` when it is of
another class, or has other fields, or in another order. The set of given fields tells a model that
was made here, which has those of its class: it is frozen, and copies have a set of their own.
"""

from __future__ import annotations

from typing import Any

from effectmq.protocol.exact.building import set_extra, set_given, set_private
from effectmq.protocol.exact.shapes import fields
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefEffect,
    RuntimeEffectKind,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubject,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = [
    "call",
    "call_fields",
    "cause",
    "cause_fields",
    "command",
    "command_fields",
    "envelope",
    "envelope_fields",
    "invocation",
    "invocation_fields",
    "replay",
    "replay_fields",
    "scope",
    "scope_fields",
    "subject",
    "subject_fields",
]

_new, _set = object.__new__, object.__setattr__

_SCOPE = {"session_id", "turn_id", "turn_index", "protocol_iteration"}
_CAUSE = {"session_id", "turn_id", "effect_id"}
_SUBJECT = {"type", "effect_id", "kind"}
_REPLAY = {"key"}
_INVOCATION = {"scope", "subject", "caused_by", "replay"}
_CALL = {"call_id", "tool_name", "args"}
_COMMAND = {"call"}
_ENVELOPE = {"invocation", "command"}


def scope(
    session_id: str, turn_id: str | None, turn_index: int | None, protocol_iteration: int | None
) -> RuntimeScope:
    """The scope of an effect."""
    made = _new(RuntimeScope)
    _set(made, "session_id", session_id)
    _set(made, "turn_id", turn_id)
    _set(made, "turn_index", turn_index)
    _set(made, "protocol_iteration", protocol_iteration)
    set_given(made, _SCOPE)
    set_extra(made, None)
    set_private(made, None)
    return made


def scope_fields(model: Any) -> dict[str, Any]:
    """Read what ``scope`` makes."""
    if type(model) is RuntimeScope and model.__pydantic_fields_set__ is _SCOPE:
        return {
            "session_id": model.session_id,
            "turn_id": model.turn_id,
            "turn_index": model.turn_index,
            "protocol_iteration": model.protocol_iteration,
        }
    return fields(
        model, RuntimeScope, ("session_id", "turn_id", "turn_index", "protocol_iteration")
    )


def cause(session_id: str, turn_id: str | None, effect_id: str) -> CausalRefEffect:
    """An effect that caused another one."""
    made = _new(CausalRefEffect)
    _set(made, "type", "effect")
    _set(made, "session_id", session_id)
    _set(made, "turn_id", turn_id)
    _set(made, "effect_id", effect_id)
    set_given(made, _CAUSE)
    set_extra(made, None)
    set_private(made, None)
    return made


def cause_fields(model: Any) -> dict[str, Any]:
    """Read what ``cause`` makes."""
    if type(model) is CausalRefEffect and model.__pydantic_fields_set__ is _CAUSE:
        return {
            "type": model.type,
            "session_id": model.session_id,
            "turn_id": model.turn_id,
            "effect_id": model.effect_id,
        }
    return fields(model, CausalRefEffect, ("type", "session_id", "turn_id", "effect_id"))


def subject(effect_id: str, kind: RuntimeEffectKind) -> RuntimeSubjectEffect:
    """The effect that is invoked."""
    made = _new(RuntimeSubjectEffect)
    _set(made, "type", "effect")
    _set(made, "effect_id", effect_id)
    _set(made, "kind", kind)
    set_given(made, _SUBJECT)
    set_extra(made, None)
    set_private(made, None)
    return made


def subject_fields(model: Any) -> dict[str, Any]:
    """Read what ``subject`` makes."""
    if type(model) is RuntimeSubjectEffect and model.__pydantic_fields_set__ is _SUBJECT:
        return {"type": model.type, "effect_id": model.effect_id, "kind": model.kind}
    return fields(model, RuntimeSubjectEffect, ("type", "effect_id", "kind"))


def replay(key: str) -> RuntimeReplay:
    """A replay key."""
    made = _new(RuntimeReplay)
    _set(made, "key", key)
    set_given(made, _REPLAY)
    set_extra(made, None)
    set_private(made, None)
    return made


def replay_fields(model: Any) -> dict[str, Any]:
    """Read what ``replay`` makes."""
    if type(model) is RuntimeReplay and model.__pydantic_fields_set__ is _REPLAY:
        return {"key": model.key}
    return fields(model, RuntimeReplay, ("key",))


def invocation(
    where: RuntimeScope, what: RuntimeSubject, caused_by: CausalRef | None, key: RuntimeReplay
) -> RuntimeInvocation:
    """An invocation."""
    made = _new(RuntimeInvocation)
    _set(made, "scope", where)
    _set(made, "subject", what)
    _set(made, "caused_by", caused_by)
    _set(made, "replay", key)
    set_given(made, _INVOCATION)
    set_extra(made, None)
    set_private(made, None)
    return made


def invocation_fields(model: Any) -> dict[str, Any]:
    """Read what ``invocation`` makes."""
    if type(model) is RuntimeInvocation and model.__pydantic_fields_set__ is _INVOCATION:
        return {
            "scope": model.scope,
            "subject": model.subject,
            "caused_by": model.caused_by,
            "replay": model.replay,
        }
    return fields(model, RuntimeInvocation, ("scope", "subject", "caused_by", "replay"))


def call(call_id: str, tool_name: str, args: Any) -> PreparedToolCall:
    """A call of a tool, with neither metadata nor a payload."""
    made = _new(PreparedToolCall)
    _set(made, "call_id", call_id)
    _set(made, "tool_name", tool_name)
    _set(made, "args", args)
    _set(made, "replay", None)
    _set(made, "prepared_payload", None)
    set_given(made, _CALL)
    set_extra(made, None)
    set_private(made, None)
    return made


def call_fields(model: Any) -> dict[str, Any]:
    """Read what ``call`` makes."""
    if type(model) is PreparedToolCall and model.__pydantic_fields_set__ is _CALL:
        return {
            "call_id": model.call_id,
            "tool_name": model.tool_name,
            "args": model.args,
            "replay": model.replay,
            "prepared_payload": model.prepared_payload,
        }
    return fields(
        model, PreparedToolCall, ("call_id", "tool_name", "args", "replay", "prepared_payload")
    )


def command(prepared: PreparedToolCall) -> RuntimeEffectCommandToolCall:
    """The command to call a tool."""
    made = _new(RuntimeEffectCommandToolCall)
    _set(made, "type", "tool_call")
    _set(made, "call", prepared)
    set_given(made, _COMMAND)
    set_extra(made, None)
    set_private(made, None)
    return made


def command_fields(model: Any) -> dict[str, Any]:
    """Read what ``command`` makes."""
    if type(model) is RuntimeEffectCommandToolCall and model.__pydantic_fields_set__ is _COMMAND:
        return {"type": model.type, "call": model.call}
    return fields(model, RuntimeEffectCommandToolCall, ("type", "call"))


def envelope(
    invoked: RuntimeInvocation, ordered: RuntimeEffectCommandToolCall
) -> RuntimeEffectEnvelope:
    """The envelope of a tool call."""
    made = _new(RuntimeEffectEnvelope)
    _set(made, "invocation", invoked)
    _set(made, "command", ordered)
    set_given(made, _ENVELOPE)
    set_extra(made, None)
    set_private(made, None)
    return made


def envelope_fields(model: Any) -> dict[str, Any]:
    """Read what ``envelope`` makes."""
    if type(model) is RuntimeEffectEnvelope and model.__pydantic_fields_set__ is _ENVELOPE:
        return {"invocation": model.invocation, "command": model.command}
    return fields(model, RuntimeEffectEnvelope, ("invocation", "command"))


def _first_of_each() -> None:
    """The first objects of a class decide which names its table has."""
    scoped = scope("", None, None, None)
    invoked = invocation(scoped, subject("", "tool_call"), cause("", None, ""), replay(""))
    envelope(invoked, command(call("", "", None)))


_first_of_each()
