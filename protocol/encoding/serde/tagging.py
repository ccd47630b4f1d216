"""
The forms of serde's enums, for pydantic.

Internally tagged enums are pydantic's discriminated unions, and so are adjacently tagged ones
except for their tag. This module has the others: enums of plain names, externally tagged enums, and
``Result``. Rules that depend on the place are in ``reading``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
)

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.narrowing import is_just_dict

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = [
    "EXTERNAL",
    "FORM",
    "UNIT",
    "AdjacentlyTagged",
    "Err",
    "ExternalVariantClass",
    "Form",
    "Ok",
    "Result",
    "is_err",
    "is_ok",
    "unit_name",
]

T = TypeVar("T")
E = TypeVar("E")


class ExternalVariantClass(Protocol):
    """A class that can be a variant of an externally tagged enum."""

    #: The variant's name on the wire, the only member of its object.
    wire_name: str
    #: Whether the class's own ``value`` field carries that name (a newtype variant).
    wire_newtype: bool


class UnitVariants:
    """
    Lets a ``Literal`` of names also be read from ``{"name": null}``, as serde does.

    Where serde has buffered the data, ``{"name": {}}`` means the same. The plain name is tried
    first, inside pydantic-core, so it costs no Python call.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        names: tuple[str, ...] = get_args(source)
        return cs.union_schema(
            [cs.literal_schema(list(names)), _unit_object_schema(names)],
            mode="left_to_right",
            custom_error_type="unit_variant",
            custom_error_message="unknown name",
            custom_error_context={"names": ", ".join(names)},
            serialization=cs.simple_ser_schema("str"),
        )


#: Put this in ``Annotated`` with a ``Literal`` for an enum that has plain names only.
UNIT = UnitVariants()


class Form(Protocol):
    """A form of serde, kept in a core schema under `FORM` for the builder of readers."""

    def read_at(self, schema: dict[str, Any], *, buffered: bool) -> dict[str, Any]:
        """
        The schema by which serde reads the form at a place.

        Args:
            schema: The schema of the form in Python.
            buffered: Whether serde has buffered the data of the place.
        """
        ...


#: The key in the metadata of a core schema.
FORM = "effectmq_form"


@dataclass(frozen=True, slots=True)
class _UnitObject:
    """The form ``{"name": null}`` of a name."""

    names: tuple[str, ...]

    def schema(self, *, buffered: bool = False) -> CoreSchema:
        """A reader of the form, and of the plain name, which may have been tried already."""
        names = self.names

        def read(value: Any) -> str:
            if type(value) is str and value in names:
                return value
            name = unit_name(value, buffered=buffered)
            if name in names:
                return name
            raise PydanticCustomError("unit_variant", "unknown name", {"names": ", ".join(names)})

        return cs.no_info_plain_validator_function(
            read, metadata={FORM: self}, serialization=cs.simple_ser_schema("str")
        )

    def read_at(self, schema: dict[str, Any], *, buffered: bool) -> dict[str, Any]:
        """See `Form`."""
        return dict(self.schema(buffered=True)) if buffered else schema


def unit_name(value: object, *, buffered: bool) -> str | None:
    """
    Return the name in ``{"name": null}``, or None when it is something else.

    Args:
        value: The value in place of a name.
        buffered: Whether ``{"name": {}}`` means the same.
    """
    if not is_just_dict(value):
        return None
    if len(value) != 1:
        return None
    ((name, content),) = value.items()
    empty = content is None or (buffered and content == {} and type(content) is dict)
    return name if empty else None


def _unit_object_schema(names: tuple[str, ...]) -> CoreSchema:
    return _UnitObject(names).schema()


@dataclass(frozen=True, slots=True)
class AdjacentlyTagged:
    """
    Lets the tag of an adjacently tagged enum be read as serde reads it: as an enum itself.

    Args:
        tag: The member that names the variant.
    """

    tag: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return self._schema(handler(source), buffered=False)

    def read_at(self, schema: dict[str, Any], *, buffered: bool) -> dict[str, Any]:
        """See `Form`."""
        return dict(self._schema(schema["schema"], buffered=buffered))

    def _schema(self, inner: CoreSchema, *, buffered: bool) -> CoreSchema:
        tag = self.tag

        def read(value: Any) -> Any:
            if is_just_dict(value):
                name = unit_name(value.get(tag), buffered=buffered)
                return value if name is None else {**value, tag: name}
            return value

        return cs.no_info_before_validator_function(read, inner, metadata={FORM: self})


class ExternallyTagged:
    """
    Reads a union as serde reads an externally tagged enum.

    Members of the union are ``Literal`` names for unit variants and classes that inherit
    ``ExternalVariant`` for the rest. The object must have exactly one member, its name choosing
    the variant.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices: dict[Any, CoreSchema] = {}
        # The alias of an enum with one variant is that variant itself.
        for member in get_args(source) or (source,):
            if get_origin(member) is Literal:
                names: tuple[str, ...] = get_args(member)
                choices.update((name, _unit_object_schema((name,))) for name in names)
            else:
                variant: type[ExternalVariantClass] = member
                inner = handler.generate_schema(member)
                if not variant.wire_newtype:
                    inner = _unwrapped(variant, inner)
                choices[variant.wire_name] = inner
        return cs.tagged_union_schema(
            choices,
            _external_tag,
            custom_error_type="external_tag",
            custom_error_message="unknown variant",
            custom_error_context={"names": ", ".join(choices)},
        )


#: Put this in ``Annotated`` with a union that is an externally tagged enum.
EXTERNAL = ExternallyTagged()


def _external_tag(value: Any) -> str | None:
    if type(value) is str:
        return value
    if is_just_dict(value):
        return next(iter(value)) if len(value) == 1 else None
    name: str | None = getattr(value, "wire_name", None)
    return name


def _unwrapped(variant: type[ExternalVariantClass], inner: CoreSchema) -> CoreSchema:
    name = variant.wire_name

    def unwrap(value: Any) -> Any:
        if is_just_dict(value):
            return value[name]
        if type(value) is str:
            raise _bare_name(name)
        return value

    return cs.no_info_before_validator_function(unwrap, inner)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """The success side of a ``Result``: ``{"Ok": …}`` on the wire."""

    ok: T


@dataclass(frozen=True, slots=True)
class Err(Generic[E]):
    """The failure side of a ``Result``: ``{"Err": …}`` on the wire."""

    err: E


def is_ok(value: object) -> TypeIs[Ok[object]]:
    """Whether a value is the success side of a ``Result``."""
    return isinstance(value, Ok)


def is_err(value: object) -> TypeIs[Err[object]]:
    """Whether a value is the failure side of a ``Result``."""
    return isinstance(value, Err)


class ResultSchema:
    """Reads and writes ``Ok[T] | Err[E]`` as serde does Rust's ``Result``."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        ok_type, err_type = (get_args(side)[0] for side in get_args(source))
        ok, err = handler.generate_schema(ok_type), handler.generate_schema(err_type)
        written = cs.tagged_union_schema(
            {
                "Ok": cs.typed_dict_schema({"Ok": cs.typed_dict_field(ok)}),
                "Err": cs.typed_dict_schema({"Err": cs.typed_dict_field(err)}),
            },
            _external_tag,
        )
        return cs.tagged_union_schema(
            {"Ok": _side("Ok", Ok, ok), "Err": _side("Err", Err, err)},
            _result_tag,
            custom_error_type="external_tag",
            custom_error_message="unknown variant",
            custom_error_context={"names": "Ok, Err"},
            serialization=cs.plain_serializer_function_ser_schema(
                _write_result, return_schema=written
            ),
        )


#: Rust's ``Result<T, E>``; tell the sides apart with ``match`` or ``isinstance``.
Result = Annotated[Ok[T] | Err[E], ResultSchema()]


def _side(name: str, make: type[Any], inner: CoreSchema) -> CoreSchema:
    def unwrap(value: Any) -> Any:
        if is_just_dict(value):
            return value[name]
        if is_ok(value):
            return value.ok
        if is_err(value):
            return value.err
        raise _bare_name(name)

    return cs.no_info_after_validator_function(
        make, cs.no_info_before_validator_function(unwrap, inner)
    )


def _bare_name(name: str) -> PydanticCustomError:
    return PydanticCustomError("bare_variant", "bare name of a variant", {"name": name})


def _result_tag(value: Any) -> str | None:
    if isinstance(value, Ok):
        return "Ok"
    if isinstance(value, Err):
        return "Err"
    return _external_tag(value)


def _write_result(value: Ok[Any] | Err[Any]) -> dict[str, Any]:
    return {"Ok": value.ok} if isinstance(value, Ok) else {"Err": value.err}
