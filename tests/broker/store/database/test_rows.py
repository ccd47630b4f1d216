"""What stands in the columns of a row, and what is refused there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.rows import (
    ColumnError,
    Columns,
    RowReader,
    data,
    number,
    text,
)


class Thing(NamedTuple):
    name: str
    size: int
    body: bytes | None


@dataclass(frozen=True)
class Choice:
    place: int
    status: Literal["open", "closed"]
    done: bool


async def test_rows_of_a_database_become_records(database_url: str) -> None:
    """On SQLite and on PostgreSQL alike."""
    async with open_database(database_url) as database:
        await database.write(
            lambda tx: tx.execute("CREATE TABLE effectmq_rows (name TEXT, size BIGINT, body TEXT)")
        )
        await database.write(
            lambda tx: tx.execute("INSERT INTO effectmq_rows VALUES (?, ?, ?)", ("a", 2**40, None))
        )
        rows = await database.read(lambda tx: tx.execute("SELECT * FROM effectmq_rows"))
    assert RowReader(Thing).all(rows) == [Thing("a", 2**40, None)]


def test_a_column_that_holds_something_else_is_refused() -> None:
    with pytest.raises(ColumnError, match="holds text, expected a whole number"):
        RowReader(Thing).one(("a", "b", b""))
    with pytest.raises(ColumnError, match="holds text, expected bytes or nothing"):
        RowReader(Thing).one(("a", 1, "c"))


def test_the_kinds_come_from_the_fields_of_a_class() -> None:
    """A choice of names is text, and a truth value is kept as a number."""
    columns = Columns.of(Choice, without=1)
    assert columns.checked(("some other", 1)) == ("some other", 1)
    with pytest.raises(ColumnError, match="holds nothing, expected a whole number"):
        columns.checked(("open", None))


def test_one_column_is_read_as_what_it_is() -> None:
    assert (number(1), text("a"), data(b"a")) == (1, "a", b"a")
    with pytest.raises(ColumnError, match="holds text, expected a whole number"):
        number("1")
    with pytest.raises(ColumnError, match="holds a whole number, expected text"):
        text(1)
    with pytest.raises(ColumnError, match="holds nothing, expected bytes"):
        data(None)
