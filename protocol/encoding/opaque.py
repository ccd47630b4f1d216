"""
Opaque JSON: values that the wire format carries without interpreting them.

Tool arguments, payloads, schemas and metadata are ``serde_json::Value`` in Lash. There an object is
a sorted map, a number is a u64, a negative i64 or a finite f64, and a string is Unicode text.
Python allows more, so a value is converted when it comes in, and again when it goes out: a dict
inside a frozen model can still be changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.narrowing import is_array, is_dict, is_just_dict, is_sequence
from effectmq.protocol.errors import MalformedError

__all__ = [
    "MAX_DEPTH",
    "MAX_INT",
    "MIN_INT",
    "Json",
    "JsonValue",
    "Refused",
    "Repeated",
    "canonical_value",
    "last_values",
    "ordered",
    "path_text",
    "validation_error",
]

#: A tree of plain Python data that has a JSON form.
JsonValue: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

#: The depth of containers; serde_json refuses a document with one level more.
MAX_DEPTH = 127

#: In characters; the path of a deeply nested value is long.
_LONGEST_PATH = 300

MIN_INT = -(2**63)
MAX_INT = 2**64 - 1


class Repeated:
    """
    The value of a member that a JSON object names more than once.

    serde takes the last value in opaque objects and maps, ignores repeated unknown members, and
    refuses a repeated struct field. Only the reader of the field knows which rule applies, so the
    parser leaves this mark for it.

    Args:
        last: The last value.
        earlier: The values before it. A typed map takes the last one, but reads them all.
    """

    __slots__ = ("earlier", "last")

    def __init__(self, last: Any, earlier: Sequence[Any] = ()) -> None:
        self.last = last
        self.earlier = earlier

    def __repr__(self) -> str:
        return "Repeated(...)"


def last_values(value: Any) -> Any:
    """
    Resolve repeated members inside a value: the last one is taken.

    Args:
        value: A tree from the parser. A repetition of the value itself stays one: its holder
            decides.
    """
    if is_just_dict(value):
        return {name: last_values(_last(member)) for name, member in value.items()}
    if is_array(value):
        return [last_values(item) for item in value]
    return value


def _last(value: Any) -> Any:
    return value.last if type(value) is Repeated else value


class Refused(Exception):
    """
    A value that is not opaque JSON; used only by the readers of values.

    Args:
        problem: What was found and what was expected.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        #: Keys and indexes from the refused value outwards, added while unwinding.
        self.way_out: list[str | int] = []
        super().__init__(problem)

    @property
    def path(self) -> tuple[str | int, ...]:
        """Keys and indexes from the outermost value inwards."""
        return tuple(reversed(self.way_out))


def path_text(path: tuple[str | int, ...]) -> str:
    """
    Write a path as people do: ``command.request.messages[0].role``.

    Args:
        path: Keys and indexes, outermost first.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            # A key is foreign text: long ones are cut, unpaired surrogates made printable.
            shown = step if len(step) <= 60 else step[:57] + "..."
            shown = shown.encode("utf-8", "backslashreplace").decode()
            text += f".{shown}" if text else shown
    return text if len(text) <= _LONGEST_PATH else text[:_LONGEST_PATH] + "..."


def canonical_value(value: object) -> JsonValue:
    """
    Return *value* as canonical opaque JSON: fresh containers, every object sorted by key.

    Tuples become lists; instances of subclasses of the plain types become plain.

    Raises:
        MalformedError: When it holds something that JSON, as the wire format reads it, cannot.
    """
    try:
        tree: JsonValue = ordered(value, MAX_DEPTH)
    except Refused as refused:
        raise MalformedError(path_text(refused.path), refused.problem) from None
    return tree


def ordered(value: Any, room: int) -> Any:
    """
    Do the work of ``canonical_value``; this runs in every encode and decode.

    Args:
        value: The value to convert.
        room: How many more levels of containers are allowed.

    Raises:
        Refused: When the value is not JSON.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is str:
        if not value.isascii():
            _refuse_surrogates(value)
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        if MIN_INT <= value <= MAX_INT:
            return value
        raise Refused("found an integer outside -2^63 ... 2^64-1; send it as a float or a string")
    if kind is dict:
        return _ordered_object(value, room)
    if kind is list or kind is tuple:
        return _ordered_array(value, room)
    if kind is float:
        # x - x is NaN for the infinities and for NaN itself, and cheaper than calling isfinite.
        if value - value == 0.0:
            return value
        raise Refused(f"found the number {value}, expected a finite number")
    return _ordered_unusual(value, room)


# The two loops look at scalars themselves: a call for each would take longer than the work.
def _ordered_object(value: dict[Any, Any], room: int) -> dict[str, Any]:
    if room <= 0:
        raise Refused(f"found more than {MAX_DEPTH} levels of nesting")
    try:
        keys = sorted(value)
    except TypeError:
        raise Refused("found an object with members not named by strings") from None
    result: dict[str, Any] = {}
    key: Any = None
    try:
        for key in keys:
            name = key if type(key) is str and key.isascii() else _member_name(key)
            item = value[key]
            kind = type(item)  # pyright: ignore[reportUnknownVariableType]
            if kind is str:
                if not item.isascii():
                    _refuse_surrogates(item)
                result[name] = item
            elif kind is dict:
                result[name] = _ordered_object(item, room - 1)
            elif kind is list:
                result[name] = _ordered_array(item, room - 1)
            elif (
                (kind is float and item - item == 0.0)
                or (kind is int and MIN_INT <= item <= MAX_INT)
                or item is None
                or kind is bool
            ):
                result[name] = item
            else:
                result[name] = ordered(item, room - 1)
    except Refused as refused:
        refused.way_out.append(str(key))
        raise
    return result


def _ordered_array(value: list[Any] | tuple[Any, ...], room: int) -> list[Any]:
    if room <= 0:
        raise Refused(f"found more than {MAX_DEPTH} levels of nesting")
    result: list[Any] = []
    try:
        for item in value:
            kind = type(item)  # pyright: ignore[reportUnknownVariableType]
            if kind is str:
                if not item.isascii():
                    _refuse_surrogates(item)
                result.append(item)
            elif kind is dict:
                result.append(_ordered_object(item, room - 1))
            elif kind is list:
                result.append(_ordered_array(item, room - 1))
            elif (
                (kind is float and item - item == 0.0)
                or (kind is int and MIN_INT <= item <= MAX_INT)
                or item is None
                or kind is bool
            ):
                result.append(item)
            else:
                result.append(ordered(item, room - 1))
    except Refused as refused:
        refused.way_out.append(len(result))
        raise
    return result


def _ordered_unusual(value: Any, room: int) -> Any:
    if type(value) is Repeated:
        return ordered(value.last, room)
    # The unbound methods return the plain value, whatever a subclass has redefined.
    if isinstance(value, str):
        return ordered(str.__str__(value), room)
    if isinstance(value, int):
        return ordered(int.__index__(value), room)
    if isinstance(value, float):
        return ordered(float.__float__(value), room)
    if is_dict(value):
        return _ordered_object(value, room)
    if is_sequence(value):
        return _ordered_array(value, room)
    raise Refused(
        f"found a Python {type(value).__name__}, expected JSON data: "
        "None, bool, int, float, str, list or dict"
    )


def _member_name(key: Any) -> str:
    if not isinstance(key, str):
        raise Refused(f"found a member named by a Python {type(key).__name__}, expected a string")
    _refuse_surrogates(key)
    return str.__str__(key)


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused("found a string with half a surrogate pair, expected Unicode text") from None


def validation_error(refused: Refused, value: object) -> ValidationError:
    """
    Turn a refusal into pydantic's error, so that the path inside the value is kept.

    Args:
        refused: The refusal.
        value: The value that contains the refused one.
    """
    # The problem is passed as data: braces in a template would be replaced.
    problem = PydanticCustomError("wire_value", "{problem}", {"problem": refused.problem})
    line = InitErrorDetails(type=problem, loc=refused.path, input=value)
    return ValidationError.from_exception_data("value", [line])


def _validate(value: Any) -> Any:
    if type(value) is Repeated:
        # Not inside the opaque value: the struct field that holds it was given twice.
        raise validation_error(Refused("the member is given more than once"), None)
    try:
        return ordered(value, MAX_DEPTH)
    except Refused as refused:
        raise validation_error(refused, value) from None


def _serialize(value: Any) -> Any:
    return ordered(value, MAX_DEPTH)


class _OpaqueJson:
    """Tells pydantic to read and write a field as opaque JSON."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return cs.no_info_plain_validator_function(
            _validate,
            serialization=cs.plain_serializer_function_ser_schema(
                _serialize, return_schema=cs.any_schema()
            ),
        )


#: The type of a field that holds opaque JSON (``json`` in the wire format's tables).
Json = Annotated[Any, _OpaqueJson()]
