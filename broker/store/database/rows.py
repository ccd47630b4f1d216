"""
The columns of a row, checked while they are read.

A database returns text, whole numbers, bytes and nulls. Each value is checked here, so that damaged
data, or data of another program, is refused with a sentence and not misread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from effectmq.broker.store.database.port import Value
from effectmq.protocol.errors import DatabaseError

__all__ = ["ColumnError", "Columns", "RowReader", "data", "number", "text"]

R = TypeVar("R")

_Kind = type | UnionType
_NAMES: dict[object, str] = {str: "text", int: "a whole number", bytes: "bytes"}


class ColumnError(DatabaseError):
    """
    A column holds what effectmq does not write there.

    Args:
        problem: What was found and what was expected, as a phrase.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"{problem}; another program than effectmq wrote to the database, or damaged it. "
            "'effectmq journal verify' names the damaged effects of a journal; "
            "restore the rest from a backup"
        )


def number(value: Value) -> int:
    """
    Read the whole number in a column.

    Raises:
        ColumnError: When it holds something else.
    """
    if not isinstance(value, int):
        raise _other(value, int)
    return value


def text(value: Value) -> str:
    """
    Read the text in a column.

    Raises:
        ColumnError: When it holds something else.
    """
    if not isinstance(value, str):
        raise _other(value, str)
    return value


def data(value: Value) -> bytes:
    """
    Read the bytes in a column.

    Raises:
        ColumnError: When it holds something else.
    """
    if not isinstance(value, bytes):
        raise _other(value, bytes)
    return value


class Columns:
    """
    The types of the columns of a statement.

    Args:
        kinds: The type of each column, from left to right.
    """

    def __init__(self, *kinds: _Kind) -> None:
        self._kinds = kinds

    @classmethod
    def of(cls, record: type, *, without: int = 0) -> Columns:
        """
        Take the types from the fields of a class; a choice of names is text, a bool is a number.

        Args:
            record: A class whose fields are in the order of the columns.
            without: How many fields to leave out at the beginning.
        """
        return cls(*map(_kind, list(get_type_hints(record).values())[without:]))

    def checked(self, row: Sequence[Value]) -> tuple[Any, ...]:
        """
        Return the row unchanged, after checking each column.

        Raises:
            ColumnError: When a column has another type.
        """
        for value, kind in zip(row, self._kinds, strict=True):
            if not isinstance(value, kind):
                raise _other(value, kind)
        return tuple(row)


class RowReader(Generic[R]):
    """
    Makes a record of each row of a statement.

    Args:
        record: A class with a field for each column, in their order.
    """

    def __init__(self, record: type[R]) -> None:
        self._make: Callable[..., R] = record
        self._columns = Columns.of(record)

    def one(self, row: Sequence[Value]) -> R:
        """
        Read one row.

        Raises:
            ColumnError: When a column has another type than its field.
        """
        return self._make(*self._columns.checked(row))

    def all(self, rows: Sequence[Sequence[Value]]) -> list[R]:
        """Read every row; see ``one``."""
        return [self.one(row) for row in rows]


def _kind(hint: Any) -> _Kind:
    if get_origin(hint) is Literal:
        return str
    kind: _Kind = int if hint is bool else hint
    return kind


def _other(value: object, kind: _Kind) -> ColumnError:
    # The value may be a payload; show only its type.
    found = "nothing" if value is None else _NAMES.get(type(value), type(value).__name__)
    wanted = " or ".join(_NAMES.get(one, "nothing") for one in get_args(kind) or (kind,))
    return ColumnError(f"a column of the database holds {found}, expected {wanted}")
