"""What the schema of an argument says is what validation takes, for types of any kind."""

from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import pathlib
import re
import uuid
from collections.abc import Generator, Hashable, Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WrapValidator,
)
from typing_extensions import TypedDict

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.registry import BadArgumentsError
from effectmq.consumers.tools.results.outputs import output_from
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import ConfigurationError
from tests.consumers.stage import tool
from tests.consumers.tools.functions.json_from_schema import json_for

CONTEXT = EffectContext(tool("t"), "1:c1", 1, 0, "")


class Level(enum.IntEnum):
    """Numbers."""

    LOW = 1
    HIGH = 2


class Colour(enum.StrEnum):
    """Text."""

    RED = "red"


class Mixed(enum.Enum):
    """Neither."""

    TEXT = "text"
    TWO = 2


class Bytes(enum.Enum):
    """What no JSON is."""

    A = b"a"


class Dates(enum.Enum):
    """One of them is no JSON."""

    DAY = datetime.date(2026, 1, 2)
    NONE = "none"


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int = 0


class Options(TypedDict, total=False):
    """A dict with known members."""

    name: Required[str]
    when: datetime.date
    depth: NotRequired[int]


class Cat(BaseModel):
    """One kind of animal."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """Another one."""

    kind: Literal["dog"]
    tricks: set[str] = set()


class Plant(BaseModel):
    """Told apart by what no JSON is."""

    kind: Literal[Mixed.TEXT] = Mixed.TEXT
    height: int = 0


class Stone(BaseModel):
    """Likewise."""

    kind: Literal[Mixed.TWO] = Mixed.TWO


class Tree(BaseModel):
    """Holds itself, in several ways."""

    name: str
    kids: list[Tree] = []
    by_level: dict[Level, Tree] = {}


def hinted(hint: Any) -> Any:
    """A function that gives back what it gets."""

    def f(a: Any) -> Any:
        return a

    f.__annotations__.update({"a": hint, "return": hint})
    return f


def kind_of(value: Any) -> Any:
    """Tells animals apart."""
    return value.get("kind") if isinstance(value, dict) else value.kind


ANIMAL = Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")]
HINTS: list[Any] = [
    *(dict[key, int] for key in (int, str, Level, Colour, Mixed, datetime.date, uuid.UUID, bool,
      Decimal, float, bytes, pathlib.Path, Literal["a", "b"], Literal["a", 1], Literal[True],
      Dates, int | str, Any)),
    dict[Colour, dict[Level, list[datetime.date]]],
    collections.OrderedDict[Level, int],
    collections.Counter[Level],
    collections.defaultdict[Level, int],
    set[datetime.date], frozenset[Mixed], set[tuple[int, str]], tuple[int, str], tuple[()],
    tuple[int, ...], Point, Options, list[Options], Decimal, pathlib.Path, re.Pattern[str],
    datetime.timedelta, bytes, Tree, Level, Mixed, Dates, Literal[Level.LOW], Literal[Colour.RED],
    Literal["a", None, 3, True], Hashable, Plant, list[Plant], Plant | Cat,
    Annotated[Cat | Dog, Field(discriminator="kind")], Annotated[ANIMAL, Discriminator(kind_of)],
    Iterable[int], Generator[int, None, None], Literal[Mixed.TEXT] | int,
    Annotated[int, AfterValidator(lambda n: 1 // n)],
    Annotated[int, BeforeValidator(lambda n: {}[n])],
    Annotated[int, WrapValidator(lambda n, handler: handler(n.value))],
]  # fmt: skip
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "1", "1.5", "true", "None", "red", "text", "cat", "2026-01-02", "PT1S", "(", "\0"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "1", "true", "red", "kind", "name"]), inner)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("hint", HINTS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_argument_is_taken_or_refused_as_an_argument(hint: Any, data: Any) -> None:
    """Never a defect, whether it is what the schema asks for or not; and so is what is returned."""
    function = hinted(hint)
    made = tool_from(function, name="t")
    args = data.draw(json_for(made.input_schema) | JUNK.map(lambda value: {"a": value}))
    with contextlib.suppress(BadArgumentsError):
        keywords = made.body.signature.keywords(args, CONTEXT)  # type: ignore[attr-defined]
        to_tree(output_from(function(**keywords)))


@pytest.mark.parametrize(
    ("hint", "names"),
    [
        (dict[Level, int], ["1", "2"]),
        (collections.OrderedDict[Level, int], ["1", "2"]),
        (collections.Counter[Level], ["1", "2"]),
        (dict[Colour, int], ["red"]),
        (dict[Mixed, int], ["text"]),
        (dict[Literal["a", "b"], int], ["a", "b"]),
        (dict[Literal[True], int], ["true"]),
        (dict[Dates, int], ["none"]),
    ],
)
async def test_names_of_an_object_are_told_as_the_text_that_they_are(
    hint: Any, names: list[str]
) -> None:
    """Each of them is taken, and no other one."""
    made = tool_from(hinted(hint), name="t")
    told = made.input_schema["properties"]["a"]["propertyNames"]
    assert told == {"enum": names}
    for name in names:
        assert len(await made.invoke({"a": {name: 3}}, CONTEXT)) == 1
    with pytest.raises(BadArgumentsError, match=r"a\.other"):
        await made.invoke({"a": {"other": 3}}, CONTEXT)


def test_an_enum_that_is_used_twice_is_told_as_text_where_it_is_a_name() -> None:
    """It stands by itself in the schema then, and the names are others."""

    def f(level: Level, by_level: dict[Level, int], tree: Tree) -> dict[Level, int]:
        return by_level

    made = tool_from(f)
    properties = made.input_schema["properties"]
    assert properties["by_level"]["propertyNames"] == {"enum": ["1", "2"]}
    assert made.input_schema["$defs"]["Level"]["enum"] == [1, 2]
    of_a_tree = made.input_schema["$defs"]["Tree"]["properties"]["by_level"]
    assert of_a_tree["propertyNames"] == {"enum": ["1", "2"]}
    assert made.output_schema["propertyNames"] == {"enum": ["1", "2"]}


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Literal[Mixed.TEXT], "one of <Mixed.TEXT.*no JSON becomes.*whole enum"),
        (list[Literal[b"x"]], "one of b'x'"),
        (Bytes, "one of <Bytes.A"),
        (enum.Enum, "an enum without members"),
        (enum.IntEnum, "an enum without members"),
        (Annotated[Plant | Stone, Field(discriminator="kind")], "told apart by one of <Mixed"),
        (dict[Literal[1, 2], int], "names among 1, 2, where JSON has text"),
        (dict[tuple[int, int], int], "names of the type tuple.*list of pairs"),
        (dict[frozenset[int], int], "names of the type frozenset"),
        (dict[None, int], "names of the type none"),
        (dict[Point, int], "names of the type named-tuple"),
        (list[dict[Point, int]], "names of the type named-tuple"),
        (re.Pattern[bytes], "a pattern of bytes"),
        (Annotated[int, Field(le=2**70)], "schema is not JSON"),
    ],
)
def test_what_no_json_fits_is_refused_at_registration(hint: Any, words: str) -> None:
    """A model could call it for ever, and each call would be refused."""
    with pytest.raises(ConfigurationError, match=words):
        tool_from(hinted(hint), name="t")


async def test_what_nothing_fits_is_not_told_of_when_it_need_not_be_given() -> None:
    """A default, or another choice: the rest can be used."""
    made = tool_from(hinted(Plant), name="t")
    assert list(made.input_schema["$defs"]["Plant"]["properties"]) == ["height"]
    assert await made.invoke({"a": {"height": 2}}, CONTEXT) == Plant(height=2)
    made = tool_from(hinted(Literal[Mixed.TEXT] | int), name="t")
    assert made.input_schema["properties"]["a"]["type"] == "integer"

    def f(a: int, b: Literal[Mixed.TEXT] = Mixed.TEXT) -> object:
        return [a, b]

    made = tool_from(f)
    assert made.parameters == ("a",)
    assert await made.invoke({"a": 1}, CONTEXT) == [1, Mixed.TEXT]


async def test_an_iterable_is_validated_before_the_function_runs() -> None:
    """It would be while it is read, as an error of the tool."""
    runs: list[object] = []

    def total(numbers: Iterable[int]) -> int:
        runs.append(numbers)
        return sum(numbers)

    made = tool_from(total)
    assert await made.invoke({"numbers": [1, 2]}, CONTEXT) == 3
    with pytest.raises(BadArgumentsError, match=r"valid integer"):
        await made.invoke({"numbers": [1, "x"]}, CONTEXT)
    assert len(runs) == 1


async def test_what_a_validator_of_a_users_raises_is_told_as_a_bad_argument() -> None:
    """The function has not run, whatever it is."""
    made = tool_from(hinted(Annotated[int, AfterValidator(lambda n: 1 // n)]), name="t")
    with pytest.raises(BadArgumentsError, match=r"cannot be validated .ZeroDivisionError"):
        await made.invoke({"a": 0}, CONTEXT)


async def test_not_more_is_told_of_bad_arguments_than_anybody_reads() -> None:
    """Names that a model made up may be long, and hold anything."""

    def f(a: list[int], b: dict[int, int]) -> None: ...

    made = tool_from(f)
    with pytest.raises(BadArgumentsError) as found:
        await made.invoke({"a": ["x"] * 5_000, "b": {"k\n" * 5_000: 1}}, CONTEXT)
    assert found.value.problems[-1] == "and 4981 more"
    with pytest.raises(BadArgumentsError) as found:
        await made.invoke({"a": [], "b": {"k\n" * 5_000: 1}}, CONTEXT)
    assert len(str(found.value)) < 1_000
    assert "\n" not in str(found.value)
