"""Signatures of every kind: understood as pydantic does, or refused with the reason."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import functools
import json
import threading
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, Self, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, AliasChoices, AliasPath, BaseModel, ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict, Unpack

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.registry import BadArgumentsError, Tool
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.errors import ConfigurationError
from tests.consumers.stage import tool
from tests.consumers.tools.functions.json_from_schema import json_for

CONTEXT = EffectContext(tool("t"), "1:c1", 1, 0, "")


class Colour(enum.Enum):
    """One colour."""

    RED = "red"


class Order(BaseModel):
    """A strict model: in Python it takes nothing but the very types."""

    model_config = ConfigDict(strict=True)
    when: datetime.date
    at: datetime.datetime
    color: Colour
    id: uuid.UUID
    price: Decimal
    pair: tuple[int, int]
    parts: set[int]
    data: bytes
    took: datetime.timedelta


ORDER = {
    "when": "2026-01-02",
    "at": "2026-01-02T03:04:05Z",
    "color": "red",
    "id": "00000000-0000-0000-0000-000000000001",
    "price": "1.10",
    "pair": [1, 2],
    "parts": [1, 2],
    "data": "abc",
    "took": "PT3S",
}


class Cat(BaseModel):
    """One kind of animal."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    """Another one."""

    kind: Literal["dog"]
    tricks: list[str] = []


class Node(BaseModel):
    """A tree."""

    name: str
    children: list[Node] = []


@dataclass
class Pair:
    """A dataclass of the standard library."""

    left: int
    right: str = "r"


@pydantic_dataclass
class Checked:
    """A dataclass of pydantic's."""

    n: int = Field(ge=0)


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int = 0


class Options(TypedDict, total=False):
    """A dict with known members."""

    depth: int


T = TypeVar("T", bound=int)
UserId = NewType("UserId", int)
Even = Annotated[int, AfterValidator(lambda n: n + n % 2)]


async def invoke(function: Any, **args: object) -> Any:
    """A function called as a tool."""
    return await tool_from(function, name="t").invoke(args, CONTEXT)


async def refused(function: Any, **args: object) -> list[str]:
    """What is wrong with the arguments."""
    with pytest.raises(BadArgumentsError) as found:
        await invoke(function, **args)
    return found.value.problems


# Defaults ----------------------------------------------------------------------------------------


def field_defaults(
    q: str = Field(description="what to look for"),
    limit: int = Field(10, ge=1, le=50),
    tags: list[str] = Field(default_factory=list),  # noqa: B008
    needed: int = Field(..., gt=0),
) -> list[object]:
    """Fields as defaults, as most frameworks teach."""
    return [q, limit, tags, needed]


async def test_a_field_as_default_is_what_it_is_to_pydantic() -> None:
    """Descriptions, bounds, defaults; and required when it has none."""
    schema = tool_from(field_defaults).input_schema
    assert schema["required"] == ["q", "needed"]
    assert schema["properties"]["q"]["description"] == "what to look for"
    assert schema["properties"]["limit"]["maximum"] == 50
    assert await invoke(field_defaults, q="x", needed=1) == ["x", 10, [], 1]
    assert await refused(field_defaults) == ["q: Field required", "needed: Field required"]
    assert (await refused(field_defaults, q="x", needed=1, limit=99))[0].startswith("limit: ")


async def test_every_call_has_a_default_of_its_own() -> None:
    """What a factory makes is not shared."""

    def only(c: Annotated[list[int], Field(default_factory=list)]) -> list[int]:
        c.append(1)
        return c

    made = tool_from(only)
    assert "required" not in made.input_schema
    assert [await made.invoke({}, CONTEXT) for _ in range(2)] == [[1], [1]]

    def of_a_dataclass(a: list[int] = dataclasses.field(default_factory=list)) -> list[int]:  # noqa: B008
        a.append(1)
        return a

    made = tool_from(of_a_dataclass)
    assert [await made.invoke({}, CONTEXT) for _ in range(2)] == [[1], [1]]


async def test_defaults_inside_of_a_hint_are_defaults() -> None:
    """The function itself knows of none, and is given it all the same."""

    def f(
        a: Annotated[int, Field(default=3)],
        b: Annotated[int, Field(default=4)] = 5,
        *,
        c: Annotated[str, Field(default="6", validate_default=True, max_length=3)],
    ) -> object:
        return [a, b, c]

    assert "required" not in tool_from(f).input_schema
    assert await invoke(f) == [3, 5, "6"]
    assert await invoke(f, a=1, b=2, c="3") == [1, 2, "3"]


async def test_a_default_may_be_anything_and_stays_the_functions_own() -> None:
    """What has no JSON form is left out of the schema, without a warning."""
    lock, nothing = threading.Lock(), float("nan")

    def f(
        a: Any = lock, b: float = nothing, c: int = 2**80, d: dict[str, int] | None = None
    ) -> Any:
        return [a is lock, b is nothing, c == 2**80, d]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema = tool_from(f).input_schema
    assert [name for name, one in schema["properties"].items() if "default" in one] == ["d"]
    assert canonical_value(schema) is not None
    assert await invoke(f) == [True, True, True, None]


async def test_a_factory_sees_the_arguments_before_it() -> None:
    """By their own names."""

    def f(a: int, b: int = Field(default_factory=lambda known: known["a"] + 1)) -> int:
        return b

    assert await invoke(f, a=1) == 2


# Names -------------------------------------------------------------------------------------------


async def test_aliases_are_the_names_that_a_call_gives() -> None:
    """Of each kind; the parameter's own name is then none."""

    def f(
        a: int = Field(alias="A"),
        b: Annotated[int, Field(validation_alias="B")] = 2,
        c: int = Field(3, validation_alias=AliasChoices("C", "CC")),
        d: int = Field(4, serialization_alias="D"),
    ) -> list[int]:
        return [a, b, c, d]

    schema = tool_from(f).input_schema
    assert list(schema["properties"]) == ["A", "B", "C", "d"]
    assert schema["required"] == ["A"]
    assert await invoke(f, A=1) == [1, 2, 3, 4]
    assert await invoke(f, A=1, B=5, CC=6, d=7) == [1, 5, 6, 7]
    assert await refused(f, a=1) == ["A: Field required", "a: Extra inputs are not permitted"]


@pytest.mark.parametrize(
    "name",
    ["schema", "json", "copy", "cls", "self", "dict", "validate", "model_x", "model_dump", "_x",
     "__x", "argument_0__x", "fields", "construct", "root"],
)  # fmt: skip
async def test_a_name_of_pydantics_is_a_name_like_another(name: str) -> None:
    """Given, required, and left to its default, next to others."""
    scope: dict[str, Any] = {}
    exec(
        f"def f({name}: int, x: int = 1, *, y_{name}: int = 2): return [{name}, x, y_{name}]", scope
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = tool_from(scope["f"])
    assert made.input_schema["required"] == [name]
    assert await made.invoke({name: 5}, CONTEXT) == [5, 1, 2]
    assert await made.invoke({name: 5, f"y_{name}": 6}, CONTEXT) == [5, 1, 6]


# Kinds of arguments ------------------------------------------------------------------------------


async def test_a_strict_model_takes_what_its_schema_asks_for() -> None:
    """Arguments are JSON, and JSON has neither dates nor enums."""

    def book(order: Order, strict: Annotated[datetime.date, Strict()]) -> list[object]:
        return [order.when, order.color, order.data, strict]

    found = await invoke(book, order=ORDER, strict="2026-01-03")
    assert found == [datetime.date(2026, 1, 2), Colour.RED, b"abc", datetime.date(2026, 1, 3)]
    # Strict all the same.
    wrong = await refused(book, order=ORDER | {"pair": ["1", 2]}, strict="2026-01-03")
    assert wrong[0].startswith("order.pair.0: ")


@pytest.mark.parametrize(
    ("hint", "given", "seen"),
    [
        (Optional[int], None, None),  # noqa: UP045 - as people write it
        (UserId, 3, 3),
        (T, 3, 3),
        (Literal["a", 1], 1, 1),
        (Even, 3, 4),
        (Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "dog"}, Dog(kind="dog")),
        (Node, {"name": "a", "children": [{"name": "b"}]}, None),
        (Pair, {"left": 1}, Pair(1)),
        (Checked, {"n": 1}, Checked(1)),
        (Point, [1, 2], Point(1, 2)),
        (Options, {"depth": 1}, {"depth": 1}),
        (dict[int, datetime.date], {"1": "2026-01-02"}, {1: datetime.date(2026, 1, 2)}),
        (set[Colour], ["red"], {Colour.RED}),
        (tuple[int, ...], [1, 2], (1, 2)),
        (bytes, "ab", b"ab"),
        (Decimal, "1.10", Decimal("1.10")),
    ],
)
async def test_what_pydantic_knows_is_understood(hint: Any, given: object, seen: object) -> None:
    """Each as itself, whatever it was in JSON."""

    def f(value: Any) -> Any:
        return value

    f.__annotations__["value"] = hint
    found = await invoke(f, value=given)
    assert isinstance(found, Node) if hint is Node else found == seen
    assert tool_from(f).input_schema["required"] == ["value"]


# The context -------------------------------------------------------------------------------------


class Own(ToolContext):
    """A context that nobody makes."""


def by_itself(context: ToolContext) -> object:
    """As it is documented."""
    return context


def optional(a: int = 1, ctx: ToolContext | None = None) -> object:
    """As in code that is called from elsewhere, too."""
    return ctx


def old_style(ctx: Optional[EffectContext]) -> object:  # noqa: UP045
    """As in older code."""
    return ctx


def annotated(ctx: Annotated[ToolContext, "injected"], a: int = 1) -> object:
    """With something about it."""
    return ctx


def annotated_inside(*, ctx: Annotated[ToolContext | None, "injected"] = None) -> object:
    """With both."""
    return ctx


def implicit(ctx: ToolContext = None) -> object:  # type: ignore[assignment]
    """As people write it."""
    return ctx


@pytest.mark.parametrize(
    "function", [by_itself, optional, old_style, annotated, annotated_inside, implicit]
)
async def test_the_context_is_asked_for_in_many_ways(function: Any) -> None:
    """It is never an argument of the model's."""
    made = tool_from(function)
    assert not {"ctx", "context"} & set(made.parameters)
    assert await made.invoke({}, CONTEXT) is CONTEXT


async def test_two_parameters_may_want_the_context() -> None:
    """Both get it."""

    def f(a: EffectContext, b: ToolContext) -> bool:
        return a is b

    assert await invoke(f)


# Where functions come from -----------------------------------------------------------------------


def plain(a: int, b: str = "x") -> list[object]:
    """
    Do it.

    Args:
        a: What.
    """
    return [a, b]


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as it should be."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def hiding(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgot its ``wraps``."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Service:
    """Has methods of every kind."""

    def method(self, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]

    @classmethod
    def of_class(cls, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]

    @staticmethod
    def static(a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]

    async def later(self, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]

    def __call__(self, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]


@pytest.mark.parametrize(
    "function",
    [
        plain,
        logged(plain),
        logged(logged(plain)),
        functools.partial(plain),
        Service().method,
        Service.of_class,
        Service().of_class,
        Service.static,
        staticmethod(Service.static),
        Service().later,
        logged(Service().method),
        Service(),
        functools.lru_cache(plain),
    ],
)
async def test_whatever_can_be_called_by_name_is_a_tool(function: Any) -> None:
    """With its hints and with its text."""
    made = tool_from(function, name="t")
    assert made.input_schema["required"] == ["a"]
    assert made.input_schema["properties"]["a"]["type"] == "integer"
    assert made.description.startswith("Do it.")
    assert await made.invoke({"a": 1}, CONTEXT) == [1, "x"]
    assert await made.invoke({"a": 1, "b": "y"}, CONTEXT) == [1, "y"]


async def test_what_a_partial_has_given_is_no_business_of_the_models() -> None:
    """It may be a key, and a default would tell it."""

    def search(query: str, limit: int, *, key: str) -> list[object]:
        return [query, limit, key]

    bound = functools.partial(functools.partial(search, "q"), key="s3cret")
    made = tool_from(bound, name="search")
    assert made.parameters == ("limit",)
    assert "s3cret" not in json.dumps(made.input_schema)
    assert await made.invoke({"limit": 1}, CONTEXT) == ["q", 1, "s3cret"]
    with pytest.raises(BadArgumentsError, match="key: Extra"):
        await made.invoke({"limit": 1, "key": "other"}, CONTEXT)


def test_the_whole_text_reaches_the_model() -> None:
    """What stands below the first line is about arguments, most of the time."""
    assert tool_from(plain).description == "Do it.\n\nArgs:\n    a: What."
    assert tool_from(functools.partial(plain), name="p").description.endswith("a: What.")


async def test_types_of_the_function_in_which_a_tool_stands_are_found() -> None:
    """Hints are text here, and what they name is nowhere but in this frame."""

    class Local(BaseModel):
        n: int
        sub: Local | None = None

    Alias = list[Local]

    def outer() -> Tool:
        class Inner(BaseModel):
            m: int

        def f(a: Local, b: Alias, c: Inner) -> int:
            return a.n + b[0].n + c.m

        return tool_from(f)

    made = outer()
    assert await made.invoke({"a": {"n": 1}, "b": [{"n": 2}], "c": {"m": 3}}, CONTEXT) == 6


async def test_a_hint_of_the_result_is_no_promise() -> None:
    """Even when nobody can find it."""

    def f(a: int) -> Missing:  # type: ignore[name-defined]  # noqa: F821
        return a

    made = tool_from(f)
    assert made.output_schema == {}
    assert await made.invoke({"a": 1}, CONTEXT) == 1


# What is refused ---------------------------------------------------------------------------------


def generator(a: int) -> Iterator[int]:
    """Gives one after the other."""
    yield a


async def async_generator(a: int) -> AsyncIterator[int]:
    """Likewise."""
    yield a


def _made_elsewhere() -> Any:
    class Gone(BaseModel):
        n: int

    def f(a: Gone) -> None: ...

    return f


def unpacked(**options: Unpack[Options]) -> None: ...
def path(a: int = Field(validation_alias=AliasPath("data", 0))) -> None: ...
def path_first(a: int = Field(validation_alias=AliasChoices(AliasPath("x", "y"), "z"))) -> None: ...
def same(a: int = Field(alias="b"), b: int = 1) -> None: ...
def mixed(a: ToolContext | int) -> None: ...
def many(a: list[ToolContext]) -> None: ...
def own(a: Own) -> None: ...
def itself(a: list[Self]) -> None: ...  # type: ignore[misc]
def a_class(a: type[int]) -> None: ...
def classes(a: list[type[int]]) -> None: ...
def callback(a: Callable[[int], int]) -> None: ...
def lock(a: threading.Event) -> None: ...
def endless(a: Annotated[float, Field(examples=[float("nan")])]) -> None: ...
def undiscriminated(a: Annotated[int | str, Field(discriminator="kind")]) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generator, "is a generator.*return a list"),
        (async_generator, "context.stream"),
        (functools.partial(generator), "generator"),
        (_made_elsewhere(), "Gone.*register the tool there"),
        (unpacked, r"\*\*options"),
        (hiding(plain), "functools.wraps"),
        (Service.method, r"'self'.*instance\.method"),
        (classmethod(plain), "Class.method"),  # type: ignore[arg-type]
        (len, "cannot be given by name"),
        (int, "is a class"),
        (path, "'a'.*path"),
        (path_first, "'a'.*path"),
        (same, "'a' and 'b' are both given as 'b'"),
        (mixed, "'a' may be the context or an argument"),
        (many, "'a' has a context inside"),
        (own, "'a' takes a context of another class"),
        (itself, "'a' is hinted Self.*name the class"),
        (a_class, "'a' is a class"),
        (classes, "'a' is a class"),
        (callback, "JSON"),
        (lock, "types that pydantic knows"),
        (endless, "its schema is not JSON"),
        (undiscriminated, "cannot be validated"),
    ],
)
def test_a_signature_that_cannot_work_is_refused_with_its_reason(function: Any, words: str) -> None:
    """At registration; the sentence names the tool, what was found, and what to do."""
    with pytest.raises(ConfigurationError, match=words) as found:
        tool_from(function, name="the_tool")
    assert "tool 'the_tool': " in str(found.value)


# Whatever the signature --------------------------------------------------------------------------


class Box(BaseModel, Generic[T]):
    """A generic model."""

    item: T


_HINTS: list[Any] = [
    int, str, bool, float, Any, None, list[int], dict[str, int], dict[int, str], int | None,
    tuple[int, str], tuple[int, ...], set[int], frozenset[str], datetime.date, datetime.datetime,
    datetime.time, datetime.timedelta, uuid.UUID, Decimal, bytes, Colour, Literal["a", 1], Cat,
    Node, Pair, Checked, Point, Options, UserId, Even, Box[int], list[Node], Cat | Dog | None,
    Annotated[Cat | Dog, Field(discriminator="kind")], Annotated[int, Field(ge=3, le=9)],
    Annotated[str, Field(min_length=2, max_length=4)], Annotated[list[int], Field(min_length=1)],
    Annotated[datetime.date, Strict()], Annotated[bool, Strict()],
]  # fmt: skip
_DEFAULTS: list[Callable[[], Any]] = [
    lambda: ...,  # stands for none at all
    lambda: None,
    lambda: Field(),
    lambda: Field(None),
    lambda: Field(default_factory=lambda: None),
    lambda: Field(description="text"),
    lambda: object(),
]
_NAMES = ["a", "b", "_c", "schema", "model_x", "self", "json", "D"]


@st.composite
def signatures(draw: st.DrawFn) -> tuple[Any, list[str]]:
    """A function that returns what it was given, and the parameters that have no default."""
    names = draw(st.lists(st.sampled_from(_NAMES), unique=True, max_size=5))
    scope: dict[str, Any] = {}
    parts, required = [], []
    for number, name in enumerate(names):
        hint, default = draw(st.sampled_from(_HINTS)), draw(st.sampled_from(_DEFAULTS))()
        if draw(st.booleans()):
            hint = Annotated[hint, Field(title="told")]
        scope[f"h{number}"], scope[f"d{number}"] = hint, default
        has_default = default is not ...
        parts.append(f"{name}: h{number}" + (f" = d{number}" if has_default else ""))
        if not has_default or getattr(default, "is_required", bool)():
            required.append(name)
    text = ", ".join(["*", *parts]) if parts else ""
    given = ", ".join(f"{name!r}: {name}" for name in names)
    exec(f"def f({text}): return {{{given}}}", scope)
    return scope["f"], required


@settings(max_examples=100, deadline=None)
@given(signatures(), st.data())
def test_what_the_schema_asks_for_is_what_a_call_needs(
    made: tuple[Any, list[str]], data: st.DataObject
) -> None:
    """
    JSON made of the schema is taken; without a member that it requires it is not; with nothing
    but these it is; and nothing that stands for a default ever reaches the function.
    """
    function, required = made
    built = tool_from(function, name="t")
    schema = built.input_schema
    canonical_value(schema)
    assert sorted(schema.get("required", [])) == sorted(required)

    def call(args: dict[str, Any]) -> dict[str, Any]:
        coroutine = built.body.signature.keywords(args, CONTEXT)  # type: ignore[attr-defined]
        return dict(function(**coroutine))

    whole = data.draw(json_for(schema), label="arguments")
    least = {name: whole[name] for name in required}
    for args in (whole, least):
        seen = call(args)
        assert set(seen) == set(schema.get("properties", {}))
        assert not any(type(value).__name__ == "FieldInfo" for value in seen.values())
    for name in required:
        with pytest.raises(BadArgumentsError, match="Field required"):
            call({key: value for key, value in least.items() if key != name})
    with contextlib.suppress(BadArgumentsError):
        call({**whole, **data.draw(st.dictionaries(st.sampled_from(_NAMES), st.integers()))})
