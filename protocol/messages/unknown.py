"""
Members of a document that its reader does not know.

Readers ignore them, as serde does. But an effect is its hash, and the hash is that of what was
understood: a member that a newer producer sends is not part of the effect here. Whoever meets a
hash that does not fit, or no hash at all, has to be able to say which members these were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel

from effectmq.protocol.encoding.limits import safe_path
from effectmq.protocol.encoding.model import Err, ExternalVariant, Ok, WireModel
from effectmq.protocol.encoding.opaque import Repeated
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tool_value import RESERVED_KEY

__all__ = ["NOTHING_UNKNOWN", "Unknown", "unknown_members"]

#: Paths that are told; the rest is counted.
_MOST = 8


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    The members that were ignored.

    Attributes:
        paths: The first of them in the order of the document, safe to print whatever they are.
        count: How many there are, those in ``paths`` included.
    """

    paths: tuple[str, ...] = ()
    count: int = 0

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = self.count - len(self.paths)
        return ", ".join(self.paths) + (f" and {more} more" if more else "")


#: Nothing was ignored, or nobody looked.
NOTHING_UNKNOWN: Final = Unknown()


def unknown_members(model: BaseModel, tree: object) -> Unknown:
    """
    Find what was ignored when *tree* was read as *model*; linear in the size of the tree.

    What a member that is unknown holds is not looked at, and opaque JSON has no unknown members.

    Args:
        model: What the reader made of it.
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
        elif isinstance(value, Ok | Err):
            result = cast("Ok[object] | Err[object]", value)
            if isinstance(result, Ok):
                self._member("Ok", result.ok, tree)
            else:
                self._member("Err", result.err, tree)
        elif isinstance(value, list | tuple):
            self._items(cast("list[object]", value), tree)
        elif isinstance(value, dict):
            for name, member in cast("dict[str, object]", value).items():
                self._member(name, member, tree)

    def _model(self, model: WireModel, tree: object) -> None:
        if not isinstance(tree, dict):
            return
        members = cast("dict[str, Any]", tree)
        wrapper = _wrapper(model, members)
        if wrapper:
            self._steps.append(wrapper)
            self._model(model, members[wrapper])
            self._steps.pop()
            return
        known = _known(model)
        for name in members:
            if name not in known:
                self._found(name)
        for holder in _holders(model):
            for alias, value in _fields(holder).items():
                if type(value) not in _SCALARS:
                    self._member(alias, value, members)

    def _member(self, name: str, value: object, tree: object) -> None:
        if isinstance(tree, dict) and name in tree:
            self._steps.append(name)
            self.visit(value, cast("dict[str, object]", tree)[name])
            self._steps.pop()

    def _items(self, values: list[object], tree: object) -> None:
        if not isinstance(tree, list):
            return
        self._steps.append(0)
        pairs = zip(values, cast("list[object]", tree), strict=False)
        for index, (value, item) in enumerate(pairs):
            if type(value) not in _SCALARS:
                self._steps[-1] = index
                self.visit(value, item)
        self._steps.pop()

    def _found(self, name: str) -> None:
        self.count += 1
        if len(self.paths) < _MOST:
            self.paths.append(safe_path([*self._steps, name]))


#: What holds no model, and need not be visited.
_SCALARS = (str, int, float, bool, type(None))


def _wrapper(model: WireModel, members: dict[str, Any]) -> str:
    """The member that holds the model when its own stand one level further in; else empty."""
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
    """The models whose members stand in one object: a struct, and what is flattened into it."""
    return [model, *(getattr(model, part) for part in type(model).wire_parts)]


def _known(model: WireModel) -> set[str]:
    return {name for holder in _holders(model) for name in _fields(holder)}
