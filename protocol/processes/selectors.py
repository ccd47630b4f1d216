"""What an event type selects from the payload of an event: a part, a constant, a filled text."""

from __future__ import annotations

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.errors import ProcessRegistryError
from effectmq.protocol.wire.process_event_types import (
    ProcessValueSelector,
    ProcessValueSelectorConst,
    ProcessValueSelectorPointer,
    ProcessValueSelectorPresent,
    ProcessValueSelectorTemplate,
)

__all__ = ["MAX_TEMPLATE_CHARACTERS", "is_truthy", "select", "text_of"]

#: A template may insert a text many times: a payload of a megabyte could make terabytes. Lash has
#: no such limit; no template that fits into a message comes near it.
MAX_TEMPLATE_CHARACTERS = 4_000_000

_Found = tuple[JsonValue] | None


def select(selector: ProcessValueSelector, payload: JsonValue) -> JsonValue:
    """
    Select from a payload.

    Args:
        selector: What to select.
        payload: Canonical opaque JSON.

    Raises:
        ProcessRegistryError: When a pointer names no part of the payload.
    """
    match selector:
        case ProcessValueSelectorPointer():
            found = _at(selector.value, payload)
            if found is None:
                raise ProcessRegistryError(f"payload pointer `{selector.value}` did not match")
            return found[0]
        case ProcessValueSelectorConst():
            value: JsonValue = selector.value
            return value
        case ProcessValueSelectorTemplate():
            return _filled(selector, payload)
        case ProcessValueSelectorPresent():
            return _at(selector.value, payload) is not None
        case _:
            return payload


def _filled(selector: ProcessValueSelectorTemplate, payload: JsonValue) -> str:
    # One field after the other, so an inserted text may contain the placeholder of a later one.
    text = selector.template
    for name in sorted(selector.fields):
        placeholder = f"{{{name}}}"
        value = text_of(select(selector.fields[name], payload))
        if len(text) + text.count(placeholder) * len(value) > MAX_TEMPLATE_CHARACTERS:
            raise ProcessRegistryError(
                f"template grows over {MAX_TEMPLATE_CHARACTERS} characters with field `{name}`"
            )
        text = text.replace(placeholder, value)
    return text


def _at(pointer: str, value: JsonValue) -> _Found:
    """The part that an RFC 6901 pointer names, in a tuple, because it may be null."""
    if not pointer:
        return (value,)
    if not pointer.startswith("/"):
        return None
    for step in pointer[1:].split("/"):
        found = _member(value, step.replace("~1", "/").replace("~0", "~"))
        if found is None:
            return None
        value = found[0]
    return (value,)


def _member(value: JsonValue, name: str) -> _Found:
    if isinstance(value, dict):
        return (value[name],) if name in value else None
    if isinstance(value, list):
        digits = name.isascii() and name.isdigit() and (name == "0" or name[0] != "0")
        # No list has an index of twenty digits, and int() of a long text is slow.
        if digits and len(name) <= 20 and int(name) < len(value):
            return (value[int(name)],)
    return None


def text_of(value: JsonValue) -> str:
    """A string as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else canonical_json(value).decode()


def is_truthy(value: JsonValue) -> bool:
    """Tell whether a condition holds: not for null, false and empty values; for every number."""
    if isinstance(value, str | list | dict):
        return bool(value)
    return value is not None and value is not False
