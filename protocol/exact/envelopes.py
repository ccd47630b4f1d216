"""
Envelopes of the frequent kinds, read and written without the models.

They are tool calls, code, sleeps, checkpoints and updates of the surface, caused by an effect or by
nothing. All rules of ``validate_envelope`` are looked at with the shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.opaque import MAX_DEPTH, JsonValue, ordered
from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.encoding.serde.model import canonical_bytes
from effectmq.protocol.exact import compact
from effectmq.protocol.exact.building import built
from effectmq.protocol.exact.shapes import MAX_COUNT, NotExact, Shapes, fields, members, shapes
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandCheckpoint,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandSyncExecutionSurface,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefEffect,
    OfAKind,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = ["read_envelope", "write_cause", "write_envelope"]

_ENVELOPE = shapes("invocation", "command")
_INVOCATION = shapes("scope", "subject", "caused_by?", "replay")
_SCOPE = shapes("session_id", "turn_id?", "turn_index?", "protocol_iteration?")
_SUBJECT = shapes("type", "effect_id", "kind")
_CAUSE = shapes("type", "session_id", "turn_id?", "effect_id")
_REPLAY = shapes("key")
_CALL = shapes("call_id", "tool_name", "args", "replay?", "prepared_payload?")
_META = shapes("item_id?", "opaque?")

#: The levels that opaque parts of a call may have, which are three levels deep in their document.
_ROOM = MAX_DEPTH - 3


class _Kind(NamedTuple):
    """A kind of command that has one member beside its tag, and what this must be."""

    name: str
    model: type[OfAKind]
    member: str
    shape: Shapes
    given: set[str]
    check: Callable[[Any], bool]


def read_envelope(tree: JsonValue) -> tuple[RuntimeEffectEnvelope, bytes] | None:
    """
    The envelope of a tree, and its canonical bytes; ``None`` when it is left to the models.

    What is returned keeps the rules of ``validate_envelope``.

    Args:
        tree: From ``decode_tree``. The envelope takes its containers, so it is of no use after;
            when there is none, it is as it was, but for the order of members of opaque objects.
    """
    try:
        given = members(tree, _ENVELOPE)
        known = _KINDS[given["command"]["type"]]
        command = members(given["command"], known.shape)
        if known.member == "call":
            _check_call_shape(command["call"])
        invocation = members(given["invocation"], _INVOCATION)
        _check_invocation_shape(invocation)
        _check_values(invocation, command, known)
        canonical = canonical_json(tree, finite=True)
    except Exception:
        # Whatever it was, the models meet it again, and have the sentence for it.
        return None
    return _envelope(given, known), canonical


def write_envelope(envelope: RuntimeEffectEnvelope) -> tuple[JsonValue, bytes] | None:
    """
    The tree of an envelope, and its canonical bytes; ``None`` when it is left to the models.

    What is returned keeps the rules of ``validate_envelope``. Tree and bytes are of one moment:
    what somebody changes in the envelope later is in neither.

    Args:
        envelope: Made by anybody and in any way.
    """
    try:
        parts = compact.envelope_fields(envelope)
        known = _KINDS[parts["command"].type]
        if known.member == "call":
            command = compact.command_fields(parts["command"])
            command = {"type": command["type"], "call": _call_tree(command["call"])}
        else:
            command = fields(parts["command"], known.model, ("type", known.member))
        invocation = _invocation_tree(parts["invocation"])
        _check_values(invocation, command, known)
        tree: JsonValue = {"invocation": invocation, "command": command}
        return tree, canonical_json(tree, finite=True)
    except Exception:
        # As in ``read_envelope``.
        return None


def write_cause(cause: CausalRef) -> bytes:
    """
    The canonical bytes of a cause.

    Raises:
        MalformedError: When it has no wire form.
    """
    try:
        tree = members(_present(compact.cause_fields(cause)), _CAUSE)
    except NotExact:
        return canonical_bytes(cause)
    if tree["type"] != "effect" or {*map(type, tree.values())} != {str}:
        return canonical_bytes(cause)
    return canonical_json(tree, finite=True)


# Checks of a tree ---------------------------------------------------------------------------------


def _check_invocation_shape(invocation: dict[str, Any]) -> None:
    members(invocation["scope"], _SCOPE)
    members(invocation["subject"], _SUBJECT)
    members(invocation["replay"], _REPLAY)
    if "caused_by" in invocation:
        members(invocation["caused_by"], _CAUSE)


def _check_call_shape(call: Any) -> None:
    if "replay" in members(call, _CALL):
        members(call["replay"], _META)


def _check_values(invocation: dict[str, Any], command: dict[str, Any], known: _Kind) -> None:
    """Check what is in the objects of an envelope whose shape is exact."""
    subject, key = invocation["subject"], invocation["replay"]["key"]
    effect_id, tag, kind = subject["effect_id"], subject["type"], subject["kind"]
    if not (
        type(tag) is type(kind) is type(command["type"]) is str
        and tag == "effect"
        and kind == command["type"] == known.name
        and type(effect_id) is str
        and not is_blank(effect_id)
        and type(key) is str
        and key
        and _is_scope(invocation["scope"])
        and ("caused_by" not in invocation or _is_effect(invocation["caused_by"]))
        and known.check(command[known.member])
    ):
        raise NotExact


def _is_scope(scope: dict[str, Any]) -> bool:
    return (
        type(scope["session_id"]) is str
        and type(scope.get("turn_id", "")) is str
        and _is_count(scope.get("turn_index", 0))
        and _is_count(scope.get("protocol_iteration", 0))
    )


def _is_effect(cause: dict[str, Any]) -> bool:
    return (
        type(cause["type"]) is str
        and cause["type"] == "effect"
        and type(cause["session_id"]) is str
        and type(cause.get("turn_id", "")) is str
        and type(cause["effect_id"]) is str
    )


def _is_call(call: dict[str, Any]) -> bool:
    """Whether it is a tool call; its opaque parts are put in order."""
    call["args"] = ordered(call["args"], _ROOM)
    if "prepared_payload" in call:
        call["prepared_payload"] = ordered(call["prepared_payload"], _ROOM)
        if call["prepared_payload"] is None:
            return False
    if "replay" in call and not all(map(_is_text, call["replay"].values())):
        return False
    return type(call["call_id"]) is str and type(call["tool_name"]) is str


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_checkpoint(value: Any) -> bool:
    return type(value) is str and value in ("after_work", "before_completion")


def _kind(
    name: str, model: type[OfAKind], member: str, check: Callable[[Any], bool]
) -> tuple[str, _Kind]:
    return name, _Kind(name, model, member, shapes("type", member), {"type", member}, check)


_KINDS = dict(
    (
        _kind("tool_call", RuntimeEffectCommandToolCall, "call", _is_call),
        _kind("exec_code", RuntimeEffectCommandExecCode, "code", _is_text),
        _kind("checkpoint", RuntimeEffectCommandCheckpoint, "checkpoint", _is_checkpoint),
        _kind(
            "sync_execution_surface",
            RuntimeEffectCommandSyncExecutionSurface,
            "update_machine_config",
            _is_flag,
        ),
        _kind("sleep", RuntimeEffectCommandSleep, "duration_ms", _is_count),
    )
)


# From a checked tree to the models, which take its dicts ------------------------------------------

_Nothing = dict[str, None]

#: The structs with members that may be missing: their fields in order.
_NO_SCOPE: _Nothing = dict.fromkeys(("session_id", "turn_id", "turn_index", "protocol_iteration"))
_NO_CAUSE: _Nothing = dict.fromkeys(("type", "session_id", "turn_id", "effect_id"))
_NO_CALL: _Nothing = dict.fromkeys(("call_id", "tool_name", "args", "replay", "prepared_payload"))
_NO_META: _Nothing = dict.fromkeys(("item_id", "opaque"))

_ENVELOPE_GIVEN, _SUBJECT_GIVEN = {"invocation", "command"}, {"type", "effect_id", "kind"}
_INVOCATION_GIVEN, _REPLAY_GIVEN = {"scope", "subject", "caused_by", "replay"}, {"key"}
_SCOPE_GIVEN, _CAUSE_GIVEN = {*_NO_SCOPE}, {*_NO_CAUSE}


def _envelope(tree: dict[str, Any], known: _Kind) -> RuntimeEffectEnvelope:
    command = tree["command"]
    if known.member == "call":
        command["call"] = _prepared(command["call"])
    tree["command"] = built(known.model, command, known.given)
    tree["invocation"] = _invocation(tree["invocation"])
    return built(RuntimeEffectEnvelope, tree, _ENVELOPE_GIVEN)


def _invocation(tree: dict[str, Any]) -> RuntimeInvocation:
    scope, subject, cause = tree["scope"], tree["subject"], tree.get("caused_by")
    if cause is not None:
        cause = built(CausalRefEffect, _whole(cause, _NO_CAUSE), _given(cause, _CAUSE_GIVEN))
    parts = {
        "scope": built(RuntimeScope, _whole(scope, _NO_SCOPE), _given(scope, _SCOPE_GIVEN)),
        "subject": built(RuntimeSubjectEffect, subject, _SUBJECT_GIVEN),
        "caused_by": cause,
        "replay": built(RuntimeReplay, tree["replay"], _REPLAY_GIVEN),
    }
    return built(RuntimeInvocation, parts, _given(tree, _INVOCATION_GIVEN))


def _prepared(tree: dict[str, Any]) -> PreparedToolCall:
    given, meta = {*tree}, tree.get("replay")
    if meta is not None:
        tree["replay"] = built(ProviderReplayMeta, _whole(meta, _NO_META), {*meta})
    return built(PreparedToolCall, _whole(tree, _NO_CALL), given)


def _given(tree: dict[str, Any], all_of_them: set[str]) -> set[str]:
    """The fields that a struct was given, mostly all."""
    return all_of_them if len(tree) == len(all_of_them) else {*tree}


def _whole(tree: dict[str, Any], fields: _Nothing) -> dict[str, Any]:
    """All fields of a struct; those that were left out hold ``None``."""
    return tree if len(tree) == len(fields) else {**fields, **tree}


# From models to a tree, which is to be checked ----------------------------------------------------

_META_FIELDS = tuple(_NO_META)


def _invocation_tree(model: Any) -> dict[str, Any]:
    parts = compact.invocation_fields(model)
    tree = {
        "scope": _present(compact.scope_fields(parts["scope"])),
        "subject": compact.subject_fields(parts["subject"]),
    }
    if parts["caused_by"] is not None:
        tree["caused_by"] = _present(compact.cause_fields(parts["caused_by"]))
    tree["replay"] = compact.replay_fields(parts["replay"])
    return tree


def _call_tree(model: Any) -> dict[str, Any]:
    parts = compact.call_fields(model)
    tree = {name: parts[name] for name in ("call_id", "tool_name", "args")}
    if parts["replay"] is not None:
        tree["replay"] = _present(fields(parts["replay"], ProviderReplayMeta, _META_FIELDS))
    if parts["prepared_payload"] is not None:
        tree["prepared_payload"] = parts["prepared_payload"]
    return tree


def _present(parts: dict[str, Any]) -> dict[str, Any]:
    """The members that are on the wire: ``None`` is left out."""
    if None in parts.values():
        return {name: value for name, value in parts.items() if value is not None}
    return parts
