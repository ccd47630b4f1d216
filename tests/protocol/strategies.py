"""Random wire values, built from the classes themselves: whatever a field may hold, it gets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel

from effectmq.protocol.encoding.opaque import Json
from effectmq.protocol.encoding.serde.late import Late
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.process_events import SystemTime
from effectmq.protocol.wire.tool_value import RESERVED_KEY, ToolValue

__all__ = ["json_trees", "json_values", "wire_values"]

#: Text without halves of surrogate pairs, short, and now and then awkward.
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", " ", "\x00\x1f\x7f", "\u2028", 'quo"te\\', "é", "🙂", "NaN", "Infinity", RESERVED_KEY]
)


def json_trees(
    text: st.SearchStrategy[str],
    *,
    width: int,
    leaves: int,
    also: st.SearchStrategy[Any] | None = None,
) -> st.SearchStrategy[Any]:
    """
    Trees that JSON can say.

    Args:
        text: For texts and keys.
        width: Items of a list or an object at the most.
        leaves: Of a whole tree, about.
        also: What else a leaf may be.
    """
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | text
    )
    return st.recursive(
        scalars if also is None else scalars | also,
        lambda inner: (
            st.lists(inner, max_size=width) | st.dictionaries(text, inner, max_size=width)
        ),
        max_leaves=leaves,
    )


json_values = json_trees(_text, width=2, leaves=4)


@cache
def _tool_values() -> st.SearchStrategy[Any]:
    return json_trees(_text, width=2, leaves=4, also=_model(AttachmentRef))


_special: dict[Any, Callable[[], st.SearchStrategy[Any]]] = {
    get_args(Json)[1]: lambda: json_values,
    get_args(ToolValue)[1]: _tool_values,
}


def wire_values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this annotation may hold when it is built in Python."""
    return _of(annotation, ())


def _of(annotation: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    for mark in metadata:
        if mark.__hash__ is not None and mark in _special:
            return _special[mark]()
    origin = get_origin(annotation)
    if origin is Annotated:
        return _of(get_args(annotation)[0], (*metadata, *annotation.__metadata__))
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin in (Union, UnionType):
        return st.one_of([_of(part, ()) for part in get_args(annotation)])
    if origin in (Ok, Err):
        return st.builds(origin, _of(get_args(annotation)[0], ()))
    if origin is list:
        return st.lists(_of(get_args(annotation)[0], ()), max_size=2)
    if origin is dict:
        key, value = get_args(annotation)
        return st.dictionaries(_of(key, ()), _of(value, ()), max_size=2)
    if origin is tuple:
        return st.tuples(*(_of(part, ()) for part in get_args(annotation)))
    return _plain(annotation, metadata)


def _plain(annotation: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if annotation is Any:
        (late,) = (mark for mark in metadata if isinstance(mark, Late))
        return _of(late.load(), ())
    if annotation is NoneType:
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is str:
        return _text
    if annotation is int:
        flat = [part for mark in metadata for part in getattr(mark, "metadata", [mark])]
        low = next(part.ge for part in flat if hasattr(part, "ge"))
        high = next(part.le for part in flat if hasattr(part, "le"))
        return st.sampled_from([low, high]) | st.integers(low, high)
    return st.deferred(lambda: _model(annotation))


@cache
def _model(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    if model is SystemTime:
        # The one class with a rule across its fields: no later than the clock goes.
        return st.builds(
            SystemTime,
            secs_since_epoch=st.integers(0, 2**63 - 5),
            nanos_since_epoch=st.integers(0, 2**32 - 1),
        )
    model.model_rebuild()
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        fields[name] = _of(field.annotation, tuple(field.metadata))
    required = {
        name: fields[name] for name, field in model.model_fields.items() if field.is_required()
    }
    optional = {name: values for name, values in fields.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda data: model(**data))
