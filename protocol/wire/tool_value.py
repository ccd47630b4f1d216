"""
Tool values: JSON that may hold attachments anywhere.

In memory a tool value is plain Python data, with an ``AttachmentRef`` for each attachment. On the
wire an attachment is an object under a reserved key, and an object of the user's that has this key
is escaped. The two forms never mix: decoding interprets the key, but building a model in Python
does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic_core import CoreSchema
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.narrowing import is_object, is_sequence
from effectmq.protocol.encoding.opaque import (
    MAX_DEPTH,
    JsonValue,
    Refused,
    Repeated,
    ordered,
    path_text,
    validation_error,
)
from effectmq.protocol.encoding.serde.model import FROM_WIRE, from_tree, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.attachments import AttachmentRef

__all__ = ["RESERVED_KEY", "ToolValue", "decode_tool_value", "encode_tool_value"]

#: The member that makes an object special on the wire.
RESERVED_KEY = "$lash_tool_value"


def decode_tool_value(tree: object) -> Any:
    """
    Read the wire form of a tool value.

    Returns:
        Plain data, with ``AttachmentRef`` objects in place of tagged attachments and user
        objects unescaped.

    Raises:
        MalformedError: When it is not JSON, or uses the reserved key in another way.
    """
    return _reported(_decoded, tree)


def encode_tool_value(value: object) -> JsonValue:
    """
    Write a tool value in its wire form.

    Args:
        value: Plain data that may hold ``AttachmentRef`` objects.

    Raises:
        MalformedError: When it holds anything else.
    """
    tree: JsonValue = _reported(_encoded, value)
    return tree


#: Most values are scalars, and need none of the checks below.
_SCALARS = frozenset((str, int, float, bool, type(None)))


def _reported(work: Any, value: object) -> Any:
    try:
        return work(value, MAX_DEPTH)
    except Refused as refused:
        raise MalformedError(path_text(refused.path), refused.problem) from None


def _decoded(value: Any, room: int) -> Any:
    if type(value) is Repeated:
        value = value.last
    if type(value) in _SCALARS:
        return ordered(value, room)
    if is_object(value):
        return _decoded_object(value, room)
    if is_sequence(value):
        return _each_item(_decoded, value, room)
    return ordered(value, room)


def _decoded_object(value: dict[str, Any], room: int) -> Any:
    if RESERVED_KEY not in value:
        return _each_member(_decoded, value, room)
    tag = _last(value[RESERVED_KEY])
    if not isinstance(tag, str):
        raise Refused("reserved tool value tag must be a string")
    if tag == "attachment":
        if len(value) != 2 or "ref" not in value:
            raise Refused("malformed attachment tool value")
        return _attachment(value["ref"], room)
    if tag == "object":
        entries = _last(value.get("entries"))
        if len(value) != 2 or not is_object(entries):
            raise Refused("malformed escaped object tool value")
        try:
            return _each_member(_decoded, entries, room - 1)
        except Refused as refused:
            refused.way_out.append("entries")
            raise
    shown = ascii(tag[:40])[1:-1]
    raise Refused(f"unknown reserved tool value tag `{shown}`")


def _attachment(value: Any, room: int) -> AttachmentRef:
    # Read as opaque JSON first, as Lash does: of a repeated member the last one counts.
    tree = ordered(value, room)
    try:
        return from_tree(AttachmentRef, tree)
    except MalformedError as found:
        refused = Refused(found.problem)
        refused.way_out += [found.path, "ref"] if found.path else ["ref"]
        raise refused from None


def _taken(value: Any, room: int) -> Any:
    """Check Python data and put it into canonical order; attachments stay as they are."""
    if type(value) in _SCALARS:
        return ordered(value, room)
    if isinstance(value, AttachmentRef):
        return value
    if is_object(value):
        return _each_member(_taken, value, room)
    if is_sequence(value):
        return _each_item(_taken, value, room)
    return ordered(value, room)


def _encoded(value: Any, room: int) -> Any:
    if type(value) in _SCALARS:
        return ordered(value, room)
    if isinstance(value, AttachmentRef):
        return {RESERVED_KEY: "attachment", "ref": to_tree(value)}
    if is_object(value):
        members = _each_member(_encoded, value, room)
        if RESERVED_KEY in members:
            return {RESERVED_KEY: "object", "entries": members}
        return members
    if is_sequence(value):
        return _each_item(_encoded, value, room)
    return ordered(value, room)


def _each_member(work: Any, value: dict[str, Any], room: int) -> dict[str, Any]:
    if room <= 0:
        raise Refused(f"found more than {MAX_DEPTH} levels of nesting")
    # Opaque JSON defines names and their order: use its rules, with the values left out.
    names = ordered(dict.fromkeys(value), 1)
    result: dict[str, Any] = {}
    name = ""
    try:
        for name in names:
            result[name] = work(value[name], room - 1)
    except Refused as refused:
        refused.way_out.append(name)
        raise
    return result


def _each_item(work: Any, value: Sequence[object], room: int) -> list[Any]:
    if room <= 0:
        raise Refused(f"found more than {MAX_DEPTH} levels of nesting")
    result: list[Any] = []
    try:
        for item in value:
            result.append(work(item, room - 1))
    except Refused as refused:
        refused.way_out.append(len(result))
        raise
    return result


def _last(value: Any) -> Any:
    return value.last if type(value) is Repeated else value


def _validate(value: Any, info: cs.ValidationInfo) -> Any:
    if type(value) is Repeated:
        raise validation_error(Refused("the member is given more than once"), None)
    try:
        if info.context is FROM_WIRE:
            return _decoded(value, MAX_DEPTH)
        return _taken(value, MAX_DEPTH)
    except Refused as refused:
        raise validation_error(refused, value) from None


def _serialize(value: Any) -> Any:
    return _encoded(value, MAX_DEPTH)


class _ToolValue:
    """Tells pydantic to read and write a field as a tool value."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return cs.with_info_plain_validator_function(
            _validate,
            serialization=cs.plain_serializer_function_ser_schema(
                _serialize, return_schema=cs.any_schema()
            ),
        )


#: The type of a field that holds a tool value.
ToolValue = Annotated[Any, _ToolValue()]
