"""
The base of every wire type, and the four functions between a model and its wire form.

Wire types are frozen pydantic models whose fields are in wire order. They are read strictly: a
float is no integer, ``1`` is no string, and unknown members are ignored as serde does. Every error
is a ``MalformedError`` with a path; pydantic's own errors are never raised.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, overload

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import CoreSchema, PydanticSerializationError, SchemaValidator
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.narrowing import is_just_dict
from effectmq.protocol.encoding.opaque import Json, JsonValue, Repeated
from effectmq.protocol.encoding.serde.problems import malformed, unwritable
from effectmq.protocol.encoding.serde.reading import reader
from effectmq.protocol.encoding.serde.tagging import (
    EXTERNAL,
    UNIT,
    AdjacentlyTagged,
    Err,
    Ok,
    Result,
)
from effectmq.protocol.errors import MalformedError

__all__ = [
    "EXTERNAL",
    "FROM_WIRE",
    "I32",
    "I64",
    "U8",
    "U32",
    "U64",
    "UNIT",
    "AdjacentlyTagged",
    "Err",
    "ExternalVariant",
    "Json",
    "JsonValue",
    "NonZeroUsize",
    "Ok",
    "OmitEmpty",
    "OrAbsent",
    "OrFalse",
    "Result",
    "SortedMap",
    "Usize",
    "WireModel",
    "canonical_bytes",
    "from_tree",
    "is_empty",
    "is_none",
    "stable_hash",
    "to_tree",
]

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: The validation context of ``from_tree``. A few types read foreign data and Python data in
#: different ways: in one a dict with a reserved key is an escape, in the other just a dict.
FROM_WIRE: Any = object()

U8 = Annotated[int, Field(ge=0, le=2**8 - 1)]
U32 = Annotated[int, Field(ge=0, le=2**32 - 1)]
U64 = Annotated[int, Field(ge=0, le=2**64 - 1)]
#: As wide as u64: the wire format is for 64-bit machines.
Usize = U64
NonZeroUsize = Annotated[int, Field(ge=1, le=2**64 - 1)]
I32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
I64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


def is_none(value: object) -> bool:
    """Whether an optional member is left out."""
    return value is None


def is_empty(value: Any) -> bool:
    """Whether a list, map, set, string or flag is empty or false, and so left out."""
    return not value


#: ``T`` or None, and None is left out (presence code O). ``T | None`` alone prints ``null`` (N).
OrAbsent = Annotated[T | None, Field(exclude_if=is_none)]
#: A list, map, set or string that is left out when it is empty (presence code E).
OmitEmpty = Annotated[T, Field(exclude_if=is_empty)]
#: A flag that is left out when it is false (presence code F).
OrFalse = Annotated[bool, Field(exclude_if=is_empty)]


class _SortedMap:
    """A map whose keys are sorted when it is read and when it is written."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return cs.no_info_wrap_validator_function(
            _read_sorted_map,
            handler(source),
            serialization=cs.wrap_serializer_function_ser_schema(_write_sorted_map),
        )


def _read_sorted_map(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    if not is_just_dict(value):
        return read(value)
    try:
        names = sorted(value)
    except TypeError:
        # Keys of several types: the dict's own schema reports what is wrong with them.
        return read(value)
    plain: dict[str, Any] = {}
    for name in names:
        item = value[name]
        if type(item) is Repeated:
            # The last one counts, but serde has read the others as well, and may have refused one.
            for earlier in item.earlier:
                read({name: earlier})
            item = item.last
        plain[name] = item
    return read(plain)


def _write_sorted_map(value: dict[str, Any], write: SerializerFunctionWrapHandler) -> Any:
    return write(dict(sorted(value.items())))


#: For ``Annotated``, with a dict that is a ``BTreeMap`` in Rust.
SortedMap = _SortedMap()


class WireModel(BaseModel):
    """
    The base of the wire structs. Build them with keywords; ``from_tree`` reads foreign data.

    Raises:
        MalformedError: When a value does not fit its field, or the class has no such field.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
        # Any bound makes pydantic-core check the text, and so refuse half a surrogate pair.
        str_min_length=0,
        # A value without a JSON form must raise in ``canonical_bytes``, and not become null.
        ser_json_inf_nan="constants",
        defer_build=True,
    )

    #: Flattened fields: their members are among those of the struct itself.
    wire_parts: ClassVar[tuple[str, ...]] = ()
    #: Whether serde reads the type through a JSON value; see ``protocol.reading``.
    wire_through_value: ClassVar[bool] = False

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None:
            if not data.keys() <= type(self).__pydantic_fields__.keys():
                _refuse_unknown(type(self), data)
            try:
                self.__pydantic_validator__.validate_python(data, self_instance=self)
            except ValidationError as error:
                raise malformed(error, data) from None
            except RecursionError:
                raise MalformedError("", "the value is nested too deeply") from None

        # pydantic-core then builds nested objects itself, without calling this.
        __init__.__pydantic_base_init__ = True


def _refuse_unknown(model: type[BaseModel], data: dict[str, Any]) -> None:
    # A reader ignores unknown members, but in a program they are misspelt.
    fields = model.__pydantic_fields__
    known = fields.keys() | {field.alias for field in fields.values()}
    for name in sorted(data.keys() - known):
        raise MalformedError(name, f"{model.__name__} has no member of this name")


class ExternalVariant(WireModel):
    """The base of the struct variants of externally tagged enums: ``{"Variant": {...}}``."""

    wire_name: ClassVar[str]
    wire_newtype: ClassVar[bool] = False

    @model_serializer(mode="wrap")
    def _write_tagged(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self.wire_name: write(self)}


#: By identity: hashing a union alias costs as much as reading a small document. The type is kept
#: beside its reader, so that no other object can get the same identity.
_readers: dict[int, tuple[Any, SchemaValidator]] = {}


def _reader(type_: Any) -> SchemaValidator:
    known = _readers.get(id(type_))
    if known is None:
        known = _readers[id(type_)] = (type_, reader(type_))
    return known[1]


@overload
def from_tree(type_: type[M], tree: object) -> M: ...
@overload
def from_tree(type_: Any, tree: object) -> Any: ...
def from_tree(type_: Any, tree: object) -> Any:
    """
    Read a tree of plain data from a parser as a wire type.

    Args:
        type_: A wire class or the alias of an enum.
        tree: The data; it is not changed, and containers in it are not kept.

    Raises:
        MalformedError: When it is not of that type; carries the path.
    """
    try:
        return _reader(type_).validate_python(tree, context=FROM_WIRE, by_alias=True, by_name=False)
    except ValidationError as error:
        raise malformed(error, tree) from None
    except RecursionError:
        raise MalformedError("", "the document is nested too deeply") from None


def to_tree(model: BaseModel) -> dict[str, Any]:
    """
    Write a model as the tree of plain data of its JSON form, members in wire order.

    Raises:
        MalformedError: When a value inside was changed into something that has no wire form.
    """
    try:
        tree: dict[str, Any] = model.__pydantic_serializer__.to_python(
            model, mode="json", by_alias=True, warnings="error"
        )
    except (PydanticSerializationError, RecursionError) as error:
        raise unwritable(error, type(model).__name__) from None
    return tree


def canonical_bytes(model: BaseModel, *, finite: bool = False) -> bytes:
    """
    Write a model as canonical JSON.

    The writer goes from the model to the text in one step. Only when it cannot, or when the text
    may contain NaN or an infinity, the tree is made as well, to find the fault and its place.

    Args:
        model: The model.
        finite: The numbers in it are known to be finite, or are looked at next. This saves a search
            in the text that takes longer than writing a long one.

    Raises:
        MalformedError: When it has no wire form.
    """
    try:
        data: bytes = model.__pydantic_serializer__.to_json(model, by_alias=True, warnings="error")
    except (PydanticSerializationError, ValueError, RecursionError):
        return canonical_json(to_tree(model))
    if not finite and (b"NaN" in data or b"Infinity" in data):
        return canonical_json(to_tree(model))
    return data


def stable_hash(model: BaseModel) -> str:
    """
    Return the SHA-256 of the model's canonical JSON, 64 lowercase hex digits.

    Raises:
        MalformedError: When it has no wire form.
    """
    return sha256(canonical_bytes(model)).hexdigest()
