"""
Keeps odd parts of a server's messages from the library, which would refuse the whole message.

It checks a list of tools, or a result, as a whole: one tool with an odd schema, and all tools are
missing. So unusable tools are removed from lists, each with a reason, and results are passed around
the library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from effectmq.consumers.tools.mcp.messages import Seal
from effectmq.protocol.encoding.narrowing import is_array, is_object, items_of, members_of
from effectmq.protocol.text import printable

__all__ = ["LeftOut", "cleared_list", "left_out_of", "passed_by", "passed_result"]

#: A model gets every schema with every request.
_MAX_TOOL_BYTES = 256 * 1024
_META = "_meta"

#: The name of a tool, and why it is left out.
LeftOut = tuple[str, str]


def cleared_list(result: Mapping[str, Any], version: str, seal: Seal) -> dict[str, Any]:
    """
    One page of a list of tools, without unusable ones.

    Args:
        result: The result of ``tools/list``.
        version: The version of the protocol.
        seal: Names the member of the page that says what was left out.
    """
    kept: list[object] = []
    left_out: list[LeftOut] = []
    for tool in items_of(result.get("tools")):
        why = _oddity(tool, result, version)
        if why is None:
            kept.append(tool)
        else:
            left_out.append((_name(tool), why))
    return {**result, "tools": kept, _META: {**_meta(result), seal.name: left_out}}


def left_out_of(meta: Mapping[str, Any] | None, seal: Seal) -> list[LeftOut]:
    """The tools that were left out of a page."""
    found: list[LeftOut] = (meta or {}).get(seal.name, [])
    return [(name, why) for name, why in found]


def passed_by(result: Mapping[str, Any], seal: Seal) -> dict[str, Any]:
    """A result of a tool whose content is passed around the library, which knows fewer kinds."""
    if result.get("resultType", "complete") != "complete":
        return dict(result)
    return {**result, "content": [], _META: {**_meta(result), seal.name: dict(result)}}


def passed_result(meta: Mapping[str, Any] | None, seal: Seal) -> dict[str, Any] | None:
    """The result that was passed around the library."""
    found = (meta or {}).get(seal.name)
    return found if is_object(found) else None


def _meta(result: Mapping[str, Any]) -> dict[str, Any]:
    return members_of(result.get(_META))


def _name(tool: object) -> str:
    name = members_of(tool).get("name")
    return name if isinstance(name, str) else "without a name"


def _oddity(tool: object, result: Mapping[str, Any], version: str) -> str | None:
    """Why a tool cannot be used; ``None`` when it can."""
    from mcp_types.methods import validate_server_result
    from pydantic import ValidationError

    if not is_object(tool):
        return f"it is {type(tool).__name__}, expected an object"
    if not isinstance(tool.get("name"), str):
        return "it has no name"
    if len(json.dumps(tool)) > _MAX_TOOL_BYTES:
        return f"its description and schemas are larger than {_MAX_TOOL_BYTES // 1024} KiB"
    for field in ("inputSchema", "outputSchema"):
        if tool.get(field) is not None or field == "inputSchema":
            why = _odd_schema(tool.get(field))
            if why is not None:
                return f"its {field} {why}"
    page: dict[str, Any] = {**result, "tools": [tool], _META: _meta(result)}
    try:
        validate_server_result("tools/list", version, page)
    except KeyError:
        return None
    except ValidationError as problem:
        return _first(problem.errors(include_url=False, include_input=False))
    return None


def _first(errors: Iterable[Mapping[str, Any]]) -> str:
    for error in errors:
        path = ".".join(str(step) for step in error["loc"] if step not in ("tools", 0))
        return printable(f"its {path} does not fit the protocol: {error['msg']}", 200)
    return "it does not fit the protocol"


def _odd_schema(schema: object) -> str | None:
    from jsonschema import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    if not is_object(schema):
        found = "missing" if schema is None else f"{type(schema).__name__}"
        return f"is {found}, expected a JSON Schema of an object"
    if schema.get("type") != "object":
        return f"has the type {printable(repr(schema.get('type')), 60)}, expected 'object'"
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as problem:
        return f"is not a JSON Schema: {printable(str(problem.message), 150)}"
    except Exception as problem:
        # A very odd schema can make the validator itself fail.
        return f"is not a JSON Schema: {type(problem).__name__}"
    dangling = next(_dangling(schema, schema), None)
    return None if dangling is None else f"refers to {dangling!r}, which is not in it"


def _dangling(value: object, root: dict[str, Any]) -> Iterator[str]:
    """References to parts that a schema does not contain."""
    rest = [value]
    while rest:
        one = rest.pop()
        if is_array(one):
            rest += one
        if not is_object(one):
            continue
        reference = one.get("$ref")
        if isinstance(reference, str) and not _resolves(reference, root):
            yield printable(reference, 100)
        rest += [item for name, item in one.items() if name not in ("const", "enum", "default")]


def _resolves(reference: str, root: dict[str, Any]) -> bool:
    place, _, pointer = reference.partition("#")
    if place or (pointer and not pointer.startswith("/")):
        # By a name that a part of the schema gives to itself; otherwise it is another document.
        return any(f'"{key}"' in json.dumps(root) for key in ("$id", "$anchor", "$dynamicAnchor"))
    found: object = root
    for step in pointer.split("/")[1:]:
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        if is_object(found) and step in found:
            found = found[step]
        elif is_array(found) and step.isdigit():
            if int(step) >= len(found):
                return False
            found = found[int(step)]
        else:
            return False
    return True
