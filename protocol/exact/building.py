"""Models of known content, made without validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

__all__ = ["built", "set_extra", "set_given", "set_private"]

M = TypeVar("M", bound=BaseModel)

# The setters of the four slots of every model. ``BaseModel.model_construct`` sets the same ones,
# and takes twenty times as long, because it looks at each field.
_slots: dict[str, Any] = {name: vars(BaseModel)[name] for name in BaseModel.__slots__}
_set_members: Callable[[object, dict[str, Any]], None] = _slots["__dict__"].__set__
set_given: Callable[[object, set[str]], None] = _slots["__pydantic_fields_set__"].__set__
set_extra: Callable[[object, None], None] = _slots["__pydantic_extra__"].__set__
set_private: Callable[[object, None], None] = _slots["__pydantic_private__"].__set__


def built(model: type[M], members: dict[str, Any], given: set[str]) -> M:
    """
    A model that is equal to the validated one in every respect; nothing is checked.

    Args:
        model: A class of ``protocol.wire``.
        members: All fields by their names in Python, in the order of the class; each of a value as
            validation would have left it. It becomes the model's own.
        given: The fields that were given and not left to their defaults. Many models may have the
            same set, which weighs more than a small model: pydantic changes those of copies only.
    """
    made = object.__new__(model)
    _set_members(made, members)
    set_given(made, given)
    set_extra(made, None)
    set_private(made, None)
    return made
