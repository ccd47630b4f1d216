"""
References to attachments inside models and dataclasses, which pydantic writes as data.

A tool's value has a special form for a reference, by which the model sees the picture and the store
knows that it is in use. In data that pydantic wrote, references are found by how they look there.
"""

from __future__ import annotations

import dataclasses

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from effectmq.protocol.encoding.narrowing import is_array, is_dict, is_object, is_sequence, is_set
from effectmq.protocol.wire.attachments import AttachmentRef

__all__ = ["references_in", "with_references"]


def references_in(value: object) -> list[AttachmentRef]:
    """All references in a value, at any depth; each object is looked into once."""
    found: list[AttachmentRef] = []
    seen: set[int] = set()
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, AttachmentRef):
            found.append(one)
        elif id(one) not in seen:
            seen.add(id(one))
            pending += _inside(one)
    return found


def _inside(value: object) -> list[object]:
    if is_dict(value):
        return [*value.values()]
    if is_sequence(value) or is_set(value):
        return [*value]
    if isinstance(value, BaseModel):
        return [*value.__dict__.values(), *(value.__pydantic_extra__ or {}).values()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, one.name, None) for one in dataclasses.fields(value)]
    return []


def with_references(data: object, found: list[AttachmentRef]) -> object:
    """
    Data in which the references of the original value are restored.

    Args:
        data: The data that pydantic wrote.
        found: The references.
    """
    return _replaced(data, [(to_jsonable_python(one), one) for one in found])


def _replaced(data: object, forms: list[tuple[object, AttachmentRef]]) -> object:
    if is_array(data):
        return [_replaced(item, forms) for item in data]
    if not is_object(data):
        return data
    for form, reference in forms:
        if data == form:
            return reference
    return {name: _replaced(item, forms) for name, item in data.items()}
