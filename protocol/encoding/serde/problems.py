"""
Turns pydantic's errors into a ``MalformedError``: one sentence, one path, no payload.

pydantic's own text has the refused input, which may be a whole prompt or a key, and its paths name
variants of unions, which are not members of the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from effectmq.protocol.encoding.narrowing import is_dict, is_sequence, members_of
from effectmq.protocol.encoding.opaque import MAX_INT, MIN_INT, Refused, Repeated, path_text
from effectmq.protocol.errors import MalformedError

__all__ = ["malformed", "unwritable"]


def malformed(error: ValidationError, value: object) -> MalformedError:
    """
    The first problem of a failed validation, as an error.

    Args:
        error: The error of pydantic.
        value: The validated value, to distinguish members from names of variants.
    """
    first = error.errors(include_url=False)[0]
    kind = first["type"]
    context: Mapping[str, Any] = first.get("ctx") or {}
    path = _real_path(first["loc"], value, missing=kind in ("missing", "wire_value"))
    found = first["input"]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _bad_tag(path, found, context)
    return MalformedError(path_text(path), _problem(kind, context, found))


def unwritable(error: Exception, what: str) -> MalformedError:
    """
    The reason why a value could not be written, as an error.

    Args:
        error: The error of pydantic's serialiser.
        what: The class of the value.
    """
    cause = error.__cause__ or error.__context__
    if isinstance(cause, Refused):
        where = path_text(cause.path)
        inside = f" at {where}" if where else ""
        return MalformedError("", f"{what} holds a value that has no JSON form{inside}: {cause}")
    return MalformedError(
        "", f"{what} holds a value of another type than its field declares, so it has no wire form"
    )


def _real_path(
    loc: tuple[int | str, ...], value: object, *, missing: bool
) -> tuple[int | str, ...]:
    """Remove the steps of *loc* that name a variant and not a member."""
    path: list[int | str] = []
    here = value
    for at, step in enumerate(loc):
        if isinstance(here, Repeated):
            here = here.last
        last = at == len(loc) - 1
        if is_dict(here) and step in here:
            here = here[step]
        elif is_sequence(here) and isinstance(step, int):
            here = here[step] if step < len(here) else None
        elif not (last and missing):
            continue
        path.append(step)
    return tuple(path)


def _bad_tag(
    path: tuple[int | str, ...], found: object, context: Mapping[str, Any]
) -> MalformedError:
    member = str(context.get("discriminator", "")).strip("'")
    tag = members_of(found).get(member)
    known = str(context.get("expected_tags", "")).replace("'", "")
    expected = f", expected one of {known}" if known else ""
    if isinstance(found, dict) and member not in found:
        return MalformedError(
            path_text((*path, member)), "the member is missing: it names the variant"
        )
    if isinstance(tag, Repeated):
        return MalformedError(path_text((*path, member)), _TWICE)
    return MalformedError(path_text((*path, member)), f"found {_shown(tag)}{expected}")


_TWICE = "the member is given more than once"

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "int_type": "an integer",
    "list_type": "an array",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_type": "a string",
    "tuple_type": "an array",
}


#: Problems whose sentence is always the same.
_SENTENCES = {
    "missing": "the member is missing",
    "extra_forbidden": "the member is unknown, and this object takes no others than its own",
    "string_unicode": "found a string with half a surrogate pair, expected Unicode text",
    "recursion_loop": "the value is nested too deeply, or contains itself",
}
_BOUNDS = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}


def _problem(kind: str, context: Mapping[str, Any], found: object) -> str:
    if isinstance(found, Repeated):
        return _TWICE
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind in _EXPECTED:
        return f"found {_found(found)}, expected {_EXPECTED[kind]}"
    if kind in _BOUNDS:
        bound, name = _BOUNDS[kind]
        return f"found {_found(found)}, expected {bound} {context[name]}"
    if kind in ("too_long", "too_short"):
        return f"found {_found(found)}, expected another number of elements"
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace("'", "")
        return f"found {_shown(found)}, expected {expected}"
    if kind in ("unit_variant", "external_tag"):
        shown = _shown(found) if kind == "unit_variant" else _shown_object(found)
        return f"found {shown}, expected one of {context['names']}"
    if kind == "bare_variant":
        return f"found the bare name {context['name']!r}, expected an object with that member"
    if kind == "wire_value":
        return str(context["problem"])
    return f"found {_found(found)}, which does not fit ({kind})"


def _found(value: object) -> str:
    """Describe what was found, without text that may be long or secret."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        inside = MIN_INT <= value <= MAX_INT
        return f"the integer {value}" if inside else "an integer of more than 64 bits"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return "a string"
    if is_sequence(value):
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return f"a Python {type(value).__name__}"


def _shown(value: object) -> str:
    """Describe a value that should have been one of a few words, which are no secrets."""
    if isinstance(value, str):
        shown = value if len(value) <= 40 else value[:37] + "..."
        return ascii(shown)
    return _found(value)


def _shown_object(value: object) -> str:
    if is_dict(value):
        names = [str(name) for name in value]
        if len(names) == 1:
            return f"an object with the member {_shown(names[0])}"
        return f"an object with {len(names)} members"
    return _shown(value)
