"""Whether a value is what a tool returns, by the schema of its type."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Len, Lt
from pydantic import BaseModel, TypeAdapter

from effectmq.protocol.answering.fitting import misfit


class Colour(Enum):
    """An enum of texts."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    """One line of an order."""

    item: str
    count: Annotated[int, Ge(1), Lt(100)] = 1


class Order(BaseModel):
    """An order with lines, which may be of an order before."""

    lines: Annotated[list[Line], Len(1, 3)]
    colour: Colour = Colour.RED
    before: Order | None = None
    day: date | None = None


@dataclass
class Loose:
    """Anything by name."""

    notes: dict[str, int] = field(default_factory=dict[str, int])


def of(hint: Any) -> object:
    """The schema that a tool with this result has."""
    return TypeAdapter(hint).json_schema(mode="serialization")


_ORDER = {"lines": [{"item": "tea", "count": 2}], "colour": "blue", "before": None, "day": None}

FITS: list[tuple[Any, object]] = [
    (int, 3),
    (int, -3.0),
    (float, 3),
    (str, ""),
    (bool, False),
    (None, None),
    (int | None, None),
    (list[int], []),
    (list[int | str], [1, "a"]),
    (tuple[int, str], [1, "a"]),
    (dict[str, list[float]], {"a": [1.5]}),
    (Literal["yes", "no"], "no"),
    (Colour, "red"),
    (Order, _ORDER),
    (Order, {**_ORDER, "before": _ORDER}),
    (Loose, {"notes": {"a": 1, "b": 2}}),
    (Annotated[float, Gt(0)], 0.5),
]


@pytest.mark.parametrize(("hint", "value"), FITS)
def test_what_a_type_writes_fits_it(hint: Any, value: object) -> None:
    """Every value that the type itself could have given."""
    assert misfit(of(hint), value) == ""


MISFITS: list[tuple[Any, object, str]] = [
    (int, "3", "the value is '3', expected integer"),
    (int, True, "the value is True, expected integer"),
    (int, 1.5, "the value is 1.5, expected integer"),
    (int, float("inf"), "the value is inf, expected integer"),
    (bool, 1, "the value is 1, expected boolean"),
    (str, None, "the value is None, expected string"),
    (list[int], {}, "the value is an object, expected array"),
    (list[int], [1, "2"], "the value[1] is '2', expected integer"),
    (dict[str, int], {"a": []}, "the value.a is a list, expected integer"),
    (tuple[int, str], [1], "the value has 1 items, expected at least 2"),
    (tuple[int, str], [1, "a", 2], "the value has 3 items, expected at most 2"),
    (Literal["yes", "no"], "maybe", "the value is 'maybe', expected 'yes' or 'no'"),
    (Literal[1], True, "the value is True, expected integer"),
    (Annotated[float, Gt(0)], 0, "the value is 0, expected more than 0"),
    (Annotated[str, Len(2, 3)], "a", "the value is 1 characters, expected at least 2"),
    (Order, {**_ORDER, "lines": []}, "the value.lines has 0 items, expected at least 1"),
    (Order, {**_ORDER, "colour": "green"}, "the value.colour is 'green', expected 'red' or 'blue'"),
    (Order, {**_ORDER, "paid": True}, "the value.paid is a member that the type does not have"),
    (
        Order,
        {**_ORDER, "before": {**_ORDER, "lines": [{"item": "tea", "count": 0}]}},
        "the value.before.lines[0].count is 0, expected at least 1",
    ),
    (Line, {"count": 1}, "the value lacks the member 'item'"),
]


@pytest.mark.parametrize(("hint", "value", "problem"), MISFITS)
def test_a_misfit_says_where_and_why(hint: Any, value: object, problem: str) -> None:
    """A sentence that a person can act on."""
    assert misfit(of(hint), value) == problem


@pytest.mark.parametrize("schema", [{}, True, None, "nonsense", {"type": "never heard of"}])
def test_a_schema_that_says_nothing_allows_everything(schema: object) -> None:
    """So does one with keywords of the wrong type."""
    assert misfit(schema, {"a": [1]}) == ""
    assert misfit({"required": 1, "properties": [], "enum": "x", "minimum": "a"}, {"a": 1}) == ""


def test_members_that_the_type_does_not_have_are_refused() -> None:
    """The schema of a dataclass does not say so, and nobody would read them."""
    assert misfit(of(Line), {"item": "tea", "cuont": 2}).startswith("the value.cuont")


def test_a_schema_without_an_end_ends() -> None:
    """Whether it refers to itself at once, or by way of alternatives."""
    assert misfit({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, 1) == ""
    turning = {"anyOf": [{"$ref": "#/$defs/a"}]}
    assert "refers to itself" in misfit({**turning, "$defs": {"a": turning}}, 1)
