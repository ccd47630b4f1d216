"""The JSON Schemas of message bodies: an envelope, the answers to it, a chunk."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import JsonSchemaValue

from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.schemas.generator import DIALECT, schema_of
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcome

__all__ = ["ANSWERS", "CHUNK", "ENVELOPE", "OUTCOME", "body_schemas"]

ENVELOPE = "envelope.schema.json"
OUTCOME = "outcome.schema.json"
ANSWERS = "answers.schema.json"
CHUNK = "chunk.schema.json"

_HASH: JsonSchemaValue = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_ATTEMPT: JsonSchemaValue = {"type": "integer", "minimum": 1}


def body_schemas() -> dict[str, JsonSchemaValue]:
    """Each schema by its file name; the schemas refer to each other by these names."""
    return {
        ENVELOPE: _headed("An effect, as a producer publishes it", _envelope()),
        OUTCOME: _headed("The outcome of an effect", schema_of(RuntimeEffectOutcome)),
        ANSWERS: _headed("The body of a message on a reply queue", _answers()),
        CHUNK: _headed("A piece of an outcome that is not complete yet", _chunk()),
    }


def _headed(title: str, schema: JsonSchemaValue) -> JsonSchemaValue:
    return {"$schema": DIALECT, "title": title, **schema}


def _envelope() -> JsonSchemaValue:
    """The type, with the rules between its two halves."""
    effect = {"type": {"const": "effect"}, "effect_id": {"pattern": r"\S"}}
    invocation = {
        "properties": {
            "subject": {"properties": effect},
            "replay": {"type": "object", "properties": {"key": {"minLength": 1}}},
        },
        "required": ["replay"],
    }
    rules: list[JsonSchemaValue] = [{"properties": {"invocation": invocation}}]
    rules.append({"anyOf": [_of_kind(kind) for kind in EFFECT_KINDS]})
    return {**schema_of(RuntimeEffectEnvelope), "allOf": rules}


def _of_kind(kind: str) -> JsonSchemaValue:
    """The subject of the invocation names the same kind as the command."""
    subject = {"properties": {"kind": {"const": kind}}}
    return {
        "properties": {
            "invocation": {"properties": {"subject": subject}},
            "command": {"properties": {"type": {"const": kind}}},
        }
    }


def _answers() -> JsonSchemaValue:
    ok = {"Ok": {"$ref": OUTCOME}}
    err = {"Err": schema_of(RuntimeEffectControllerError)}
    sides = [
        {
            "type": "object",
            "properties": side,
            "required": list(side),
            "additionalProperties": False,
        }
        for side in (ok, err)
    ]
    # A request that cannot be read is answered with the part of these that its properties have.
    members: dict[str, Any] = {
        "effect_id": {"type": "string"},
        "replay_key": {"type": "string"},
        "hash": {"type": "string"},
        "attempt": _ATTEMPT,
        "replayed": {"type": "boolean"},
        "result": {"oneOf": sides},
    }
    return {"type": "array", "minItems": 1, "items": _struct(members)}


def _chunk() -> JsonSchemaValue:
    chunk = _struct(
        {
            "effect_id": {"type": "string"},
            "replay_key": {"type": "string"},
            "hash": _HASH,
            "attempt": _ATTEMPT,
            "number": {"type": "integer", "minimum": 0},
            "text": {"type": "string"},
        }
    )
    amount: JsonSchemaValue = {"type": "number", "minimum": 0, "maximum": 2**53}
    progress = {
        "type": "object",
        "properties": {
            "done": amount,
            "total": {"anyOf": [amount, {"type": "null"}]},
            "note": {"type": "string"},
        },
        "required": ["done"],
    }
    chunk["properties"]["progress"] = progress
    return chunk


def _struct(members: dict[str, Any]) -> JsonSchemaValue:
    return {"type": "object", "properties": members, "required": list(members)}
