"""
Members of a document that its reader does not know.

Readers ignore them, as serde does. But an effect is identified by its hash, and the hash covers
only known members: an unknown member of a newer producer is not part of the effect here. When a
hash does not match, or is missing, the reader must be able to name these members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from effectmq.protocol.encoding.limits import safe_path
from effectmq.protocol.encoding.narrowing import is_array, is_object, is_sequence
from effectmq.protocol.encoding.opaque import Repeated
from effectmq.protocol.encoding.serde.model import ExternalVariant, WireModel
from effectmq.protocol.encoding.serde.tagging import is_err, is_ok
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tool_value import RESERVED_KEY

__all__ = ["NOTHING_UNKNOWN", "Unknown", "unknown_members"]

#: How many paths are named; the rest is counted.
_MOST = 8


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    The ignored members.

    Attributes:
        paths: The first of them in the order of the document, safe to print.
        count: How many there are, those in ``paths`` included.
    """

    paths: tuple[str, ...] = ()
    count: int = 0

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = self.count - len(self.paths)
        return ", ".join(self.paths) + (f" and {more} more" if more else "")


#: Nothing was ignored, or it was not checked.
NOTHING_UNKNOWN: Final = Unknown()


def unknown_members(model: BaseModel, tree: object) -> Unknown:
    """
    Find what was ignored when *tree* was read as *model*; linear in the size of the tree.

    The content of an unknown member is not looked at, and opaque JSON has no unknown members.

    Args:
        model: The model that was read.
        tree: The document.
    """
    search = _Search()
    search.visit(model, tree)
    return Unknown(tuple(search.paths), search.count)


class _Search:
    """Walks along the model and its tree; never deeper than a document may be."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.count = 0
        self._steps: list[str | int] = []

    def visit(self, value: object, tree: object) -> None:
        tree = tree.last if isinstance(tree, Repeated) else tree
        if isinstance(value, WireModel):
            self._model(value, tree)
        elif is_ok(value):
            self._member("Ok", value.ok, tree)
        elif is_err(value):
            self._member("Err", value.err, tree)
        elif is_sequence(value):
            self._items(value, tree)
        elif is_object(value):
            for name, member in value.items():
                self._member(name, member, tree)

    def _model(self, model: WireModel, tree: object) -> None:
        if not is_object(tree):
            return
        wrapper = _wrapper(model, tree)
        if wrapper:
            self._steps.append(wrapper)
            self._model(model, tree[wrapper])
            self._steps.pop()
            return
        known = _known(model)
        for name in tree:
            if name not in known:
                self._found(name)
        for holder in _holders(model):
            for alias, value in _fields(holder).items():
                if type(value) not in _SCALARS:
                    self._member(alias, value, tree)

    def _member(self, name: str, value: object, tree: object) -> None:
        if is_object(tree) and name in tree:
            self._steps.append(name)
            self.visit(value, tree[name])
            self._steps.pop()

    def _items(self, values: Sequence[object], tree: object) -> None:
        if not is_array(tree):
            return
        self._steps.append(0)
        for index, (value, item) in enumerate(zip(values, tree, strict=False)):
            if type(value) not in _SCALARS:
                self._steps[-1] = index
                self.visit(value, item)
        self._steps.pop()

    def _found(self, name: str) -> None:
        self.count += 1
        if len(self.paths) < _MOST:
            self.paths.append(safe_path([*self._steps, name]))


#: Types without a model inside, which need not be visited.
_SCALARS = (str, int, float, bool, type(None))


def _wrapper(model: WireModel, members: dict[str, Any]) -> str:
    """The member that holds the model when its own members are one level deeper; else empty."""
    if isinstance(model, ExternalVariant) and list(members) == [model.wire_name]:
        return model.wire_name
    return "ref" if isinstance(model, AttachmentRef) and RESERVED_KEY in members else ""


def _fields(model: WireModel) -> dict[str, object]:
    parts, fields = type(model).wire_parts, type(model).model_fields
    return {
        field.alias or name: getattr(model, name)
        for name, field in fields.items()
        if name not in parts
    }


def _holders(model: WireModel) -> list[WireModel]:
    """The models whose members are in one object: a struct, and what is flattened into it."""
    return [model, *(getattr(model, part) for part in type(model).wire_parts)]


def _known(model: WireModel) -> set[str]:
    return {name for holder in _holders(model) for name in _fields(holder)}
