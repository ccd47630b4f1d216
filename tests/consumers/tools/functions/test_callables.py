"""Callables of every kind as tools: each works from end to end, or is refused with its reason."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import itertools
import math
import operator
import sys
import types
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar
from unittest.mock import Mock

import pytest
from pydantic import BaseModel, Field, RootModel, model_validator, validate_call
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict, Unpack

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.registry import BadArgumentsError
from effectmq.consumers.tools.results import pieces
from effectmq.consumers.tools.results.outputs import output_from
from effectmq.protocol.errors import ConfigurationError, ToolCallError
from tests.consumers.stage import tool

if TYPE_CHECKING:
    from fractions import Fraction

CONTEXT = EffectContext(tool("t"), "1:c1", 1, 0, "")
T = TypeVar("T")
IntOrText = TypeVar("IntOrText", int, str)
AnyModel = TypeVar("AnyModel", bound=BaseModel)


def plain(a: int, b: str = "x") -> list[object]:
    """Do it."""
    return [a, b]


async def later(a: int, b: str = "x") -> list[object]:
    """Do it."""
    return [a, b]


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as it should be."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def a_coroutine(a: int, b: str = "x") -> Coroutine[Any, Any, list[object]]:
    """Do it."""
    return later(a, b)


def an_awaitable(a: int, b: str = "x") -> Awaitable[list[object]]:
    """Do it."""

    class Wait:
        def __await__(self) -> Generator[None, None, list[object]]:
            yield from asyncio.sleep(0).__await__()
            return [a, b]

    return Wait()


def a_generator(a: int, b: str = "x") -> Generator[object]:
    """Do it."""
    return (one for one in (a, b))


def a_map(a: int, b: str = "x") -> Iterator[object]:
    """Do it."""
    return map(dict[object, object]({a: a, b: b}).get, (a, b))


async def _pieces(a: int, b: str) -> AsyncIterator[object]:
    yield a
    yield b


def an_async_generator(a: int, b: str = "x") -> AsyncIterator[object]:
    """Do it."""
    return _pieces(a, b)


@logged
def hidden_generator(a: int, b: str = "x") -> Iterator[object]:
    """Do it."""
    yield a
    yield b


@logged
async def hidden_async_generator(a: int, b: str = "x") -> AsyncIterator[object]:
    """Do it."""
    yield a
    yield b


class Service:
    """Do it."""

    def method(self, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]

    def _inner(self, first: int, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]

    @functools.singledispatchmethod
    def dispatched(self, a: int) -> int:
        """Choose by the type of the first."""
        return a

    @property
    def value(self) -> int:
        """A property."""
        return 1

    filled = functools.partialmethod(_inner, 1)


class Called:
    """Do it."""

    def __call__(self, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]


class CalledLater:
    """Do it."""

    async def __call__(self, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]


class CalledOnClass:
    """Do it."""

    @classmethod
    def __call__(cls, a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]


class CalledStatically:
    """Do it."""

    @staticmethod
    def __call__(a: int, b: str = "x") -> list[object]:
        """Do it."""
        return [a, b]


class CalledPartially:
    """Do it."""

    __call__ = staticmethod(functools.partial(plain))


class CalledByAnother:
    """Do it."""

    __call__ = staticmethod(Called())


class EqualToAll(Called):
    """Do it."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whatever."""
        return True


class AnswersAnything(Called):
    """Do it."""

    def __getattr__(self, name: str) -> int:
        """Whatever is asked."""
        return 5


class Raises(Called):
    """Do it."""

    @property
    def __signature__(self) -> inspect.Signature:
        """It looks so, and is none."""
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "function",
    [
        plain,
        later,
        logged(plain),
        logged(later),
        lambda a, b="x": [a, b],
        functools.partial(plain),
        functools.partial(plain, b="x"),
        functools.partial(later),
        functools.partial(Called()),
        functools.partial(CalledOnClass()),
        functools.lru_cache(plain),
        staticmethod(plain),
        validate_call(plain),
        Service().method,
        Service().filled,
        functools.partial(Service().method),
        Called(),
        CalledLater(),
        CalledOnClass(),
        CalledStatically(),
        CalledPartially(),
        CalledByAnother(),
        EqualToAll(),
        AnswersAnything(),
        Raises(),
        a_coroutine,
        an_awaitable,
        a_generator,
        a_map,
        an_async_generator,
        hidden_generator,
        hidden_async_generator,
    ],
)
async def test_what_can_be_called_by_name_works_from_end_to_end(function: Any) -> None:
    """The schema is told, what does not fit is refused, and the result is the function's."""
    made = tool_from(function, name="t")
    assert made.parameters[0] == "a"
    assert made.input_schema["required"] == ["a"]
    assert await made.invoke({"a": 1}, CONTEXT) == [1, "x"]
    for wrong in ({}, {"a": 1, "c": 2}):
        with pytest.raises(BadArgumentsError):
            await made.invoke(wrong, CONTEXT)
    if made.input_schema["properties"]["a"].get("type") == "integer":
        with pytest.raises(BadArgumentsError, match=r"^a: "):
            await made.invoke({"a": "x"}, CONTEXT)
        assert made.description == "Do it."


# Classes -----------------------------------------------------------------------------------------


class Order(BaseModel):
    """An order."""

    item: str = Field(description="what", alias="Item")
    count: int = Field(1, ge=1)
    parts: list[Order] = []

    @model_validator(mode="after")
    def _not_too_many(self) -> Order:
        if self.count > 9:
            raise ValueError("too many")
        return self


@dataclasses.dataclass
class Pair:
    """A pair."""

    left: int
    right: list[str] = dataclasses.field(default_factory=list)


@pydantic_dataclass
class Checked:
    """A number."""

    n: int = Field(ge=0)


@pytest.mark.parametrize(
    ("kind", "good", "made_of_it", "bad"),
    [
        (
            Order,
            {"Item": "a", "parts": [{"Item": "b"}]},
            {"Item": "a", "count": 1, "parts": [{"Item": "b", "count": 1, "parts": []}]},
            [{}, {"Item": 1}, {"Item": "a", "count": 0}, {"Item": "a", "count": 10}, [], None],
        ),
        (Pair, {"left": 1}, {"left": 1, "right": []}, [{}, {"left": "x"}, {"left": 1, "right": 2}]),
        (Checked, {"n": 1}, {"n": 1}, [{}, {"n": -1}]),
    ],
)
async def test_a_class_of_data_is_a_tool_that_makes_one(
    kind: Any, good: object, made_of_it: object, bad: list[object]
) -> None:
    """Its fields are the arguments, with all that they say; the object is the result."""
    made = tool_from(kind)
    assert made.input_schema["type"] == "object"
    assert set(made.input_schema["properties"]) <= set(made_of_it)  # type: ignore[call-overload]
    assert made.description == kind.__doc__
    outcome = output_from(await made.invoke(good, CONTEXT)).outcome
    assert outcome.payload == made_of_it
    for args in bad:
        with pytest.raises(BadArgumentsError):
            await made.invoke(args, CONTEXT)


# What cannot be -----------------------------------------------------------------------------------


class Numbers(RootModel[list[int]]):
    """A model without names."""


class Plain:
    """A class of no kind that pydantic knows."""

    def __init__(self, a: int) -> None:
        self.a = a


class Named(NamedTuple):
    """A tuple with names."""

    a: int


class Options(TypedDict, total=False):
    """A dict with known members."""

    depth: int


@functools.singledispatch
def dispatching(a: int) -> int:
    """Choose by the type of the first."""
    return a


class CalledAsGenerator:
    """An object whose call is a generator."""

    def __call__(self, a: int) -> Iterator[int]:
        """One after the other."""
        yield a


@contextlib.contextmanager
def manager(a: int) -> Iterator[int]:
    """Opens and closes."""
    yield a


@contextlib.asynccontextmanager
async def async_manager(a: int) -> AsyncIterator[int]:
    """Opens and closes."""
    yield a


@types.coroutine
def old_coroutine(a: int) -> Generator[Any, Any, int]:
    """As before ``async def``."""
    yield from asyncio.sleep(0).__await__()
    return a


def needs_more(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that takes what it does not tell of."""

    @functools.wraps(function)
    def wrapper(extra: int, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def telling(told: object, wrapped: object = None) -> Any:
    """A function that says something else of itself than is so."""

    def f(a: int) -> int:
        return a

    f.__signature__ = told  # type: ignore[attr-defined]
    if wrapped is not None:
        del f.__signature__  # type: ignore[attr-defined]
        f.__wrapped__ = f if wrapped == "itself" else wrapped  # type: ignore[attr-defined]
    return f


def hinted(hint: object) -> Any:
    """A function with one parameter."""

    def f(a: Any) -> Any:
        return a

    f.__annotations__["a"] = hint
    return f


def star(*a: int) -> None: ...
def stars(**a: int) -> None: ...
def unpacked(**a: Unpack[Options]) -> None: ...
def positional(a: int, /) -> None: ...
def imported_for_checks(a: Fraction) -> None: ...


OTHER = inspect.Signature([inspect.Parameter("z", inspect.Parameter.KEYWORD_ONLY)])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (dispatching, r"singledispatch.*name\.dispatch\(int\)"),
        (Service().dispatched, "singledispatch"),
        (logged(dispatching), "singledispatch"),
        (Plain, "is a class .*Plain.* neither.*write a function"),
        (Named, "is a class"),
        (Options, "is a class"),
        (int, "is a class"),
        (object, "is a class"),
        (functools.partial(Order, count=2), "a partial of the class Order"),
        (Numbers, "model without named fields"),
        (BaseModel, "model without named fields"),
        (CalledAsGenerator(), "is a generator"),
        (functools.partial(CalledAsGenerator()), "is a generator"),
        (manager, "is a context manager"),
        (async_manager, "is a context manager"),
        (old_coroutine, "is a generator"),
        (Service.value, "is a property, which cannot be called"),
        (None, "is a NoneType, which cannot be called"),
        (5, "is a int, which cannot be called"),
        (sys, "is a module, which cannot be called"),
        (classmethod(plain), "Class.method"),
        (len, "'?obj.* by name; remove the /"),
        (math.sqrt, "by name; remove the /"),
        (print, r"\*args"),
        (max, "wrap it in a def"),
        ({}.get, "by name"),
        (operator.itemgetter(1), r"\*args"),
        (Mock(), r"\*args"),
        (star, r"\*a.*take a list"),
        (stars, r"\*\*a.*take a dict or a TypedDict"),
        (unpacked, r"\*\*a.*take a dict or a TypedDict"),
        (positional, "remove the /"),
        (needs_more(plain), "says that it takes.*but it takes.*extra"),
        (telling(OTHER), "says that it takes.*but it takes"),
        (telling("no"), "signature cannot be read"),
        (telling("", wrapped="itself"), "signature cannot be read"),
        (telling("", wrapped=5), "signature cannot be read"),
        (functools.partial(plain, 1, 2, 3), "its arguments do not fit"),
        (imported_for_checks, "'Fraction'.*TYPE_CHECKING"),
        (hinted(5), "'a' is hinted 5, which is not a type"),
        (hinted([int]), "which is not a type"),
        (hinted((int, str)), "which is not a type"),
        (hinted({"x": int}), "which is not a type"),
        (hinted(...), "which is not a type"),
        (hinted(math), "which is not a type"),
        (hinted(print), "'a' cannot be validated .*pydantic does not know"),
        (hinted(slice), "'a' cannot be validated .*pydantic does not know"),
        (hinted(Plain), "'a' cannot be validated .*pydantic does not know"),
        (hinted(BaseModel), "'a' is a BaseModel without fields"),
        (hinted(list[BaseModel]), "'a' is a BaseModel without fields"),
        (hinted(AnyModel), "'a' is a BaseModel without fields"),
        (hinted(Annotated[int, Field(gt="x")]), "'a' cannot be validated.*coercible"),
        (hinted(Annotated[str, Field(pattern="(")]), "'a' cannot be validated.*regex"),
        (hinted(Annotated[str, Field(ge=3)]), "the bound ge=3 for the type string"),
        (hinted(list[Annotated[int, Field(min_length=3)]]), "minLength=3 for the type integer"),
        (hinted(Annotated[int, Field(json_schema_extra={"x": object()})]), "'a'"),
    ],
)
def test_what_no_call_could_use_is_refused_with_its_reason(function: Any, words: str) -> None:
    """At registration, and never with an error of what lies below."""
    with pytest.raises(ConfigurationError, match=words) as found:
        tool_from(function, name="t")
    assert str(found.value).startswith("tool 't': ")
    assert "arbitrary_types_allowed" not in str(found.value)


def test_what_a_partial_was_given_is_not_told_when_it_does_not_fit() -> None:
    """It may be a key."""
    with pytest.raises(ConfigurationError) as found:
        tool_from(functools.partial(plain, key="s3cret"), name="t")
    assert "s3cret" not in str(found.value)


def generic(a: T, b: IntOrText, c: list[T]) -> T:
    """With variables of types."""
    return a


def with_notes(a: Annotated[int, "note", object(), [1], Field, int, ...]) -> int:
    """Whoever can use them may."""
    return a


async def test_type_variables_and_notes_of_others_do_no_harm() -> None:
    """A variable is what it may be, and anything when nothing is said."""
    made = tool_from(generic)
    assert await made.invoke({"a": 1, "b": "x", "c": [None]}, CONTEXT) == 1
    with pytest.raises(BadArgumentsError, match=r"b\."):
        await made.invoke({"a": 1, "b": None, "c": []}, CONTEXT)
    assert await tool_from(with_notes).invoke({"a": 2}, CONTEXT) == 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is newer")
async def test_generics_in_the_newer_syntax_are_understood() -> None:
    """Hints as text included, which name variables of the function's own."""
    scope: dict[str, Any] = {"__name__": __name__}
    text = "type Many = list[int]\ndef f[V: int](a: V, b: 'V', c: 'list[V]', d: Many): return a"
    exec(text, scope)
    made = tool_from(scope["f"])
    assert await made.invoke({"a": 1, "b": 2, "c": [3], "d": [4]}, CONTEXT) == 1
    with pytest.raises(BadArgumentsError, match=r"c\.0"):
        await made.invoke({"a": 1, "b": 2, "c": ["x"], "d": []}, CONTEXT)


# Results that come in pieces ----------------------------------------------------------------------


def numbers() -> Iterator[int]:
    """All of them."""
    return itertools.count()


async def numbers_later() -> AsyncIterator[int]:
    """All of them."""

    async def every() -> AsyncIterator[int]:
        for number in itertools.count():
            yield number

    return every()


def lines() -> Iterable[str]:
    """Open files are no results."""
    return sys.stdout


@pytest.mark.parametrize("function", [numbers, numbers_later])
async def test_pieces_without_end_are_a_failure(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And take neither all memory nor the worker's loop."""
    monkeypatch.setattr(pieces, "_MOST", 100)
    with pytest.raises(ToolCallError, match="more than 100 pieces") as found:
        await tool_from(function).invoke({}, CONTEXT)
    assert found.value.code == "invalid_tool_result"


async def test_an_error_between_two_pieces_is_the_tools_own() -> None:
    """As if it had been raised before it returned."""

    def broken() -> Iterator[int]:
        return (1 // (1 - number) for number in range(3))

    with pytest.raises(ZeroDivisionError):
        await tool_from(broken).invoke({}, CONTEXT)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ([iter([1])], "found an iterator"),
        ({"a": (one for one in [1])}, "found an iterator"),
        (sys.stdout, "found an iterator"),
        (range(3), "found a Python range"),
        ({"a": {}.keys()}, "found a Python dict_keys"),
        ({_pieces(1, "x"): 1}, "found a Python async_generator"),
        (b"\xff", "not UTF-8"),
        ([int], "found a Python type"),
    ],
)
def test_what_has_no_json_form_is_named(result: object, words: str) -> None:
    """With what to do, and without an error of what lies below."""
    payload: Any = output_from(result).outcome.payload
    assert payload.code == "invalid_tool_result"
    assert words in payload.message
    assert "ydantic" not in payload.message.replace("a pydantic model", "")


def test_a_coroutine_that_nobody_awaited_is_named_and_closed() -> None:
    """Python would warn of it otherwise, and far from here."""
    payload: Any = output_from({"a": later(1)}).outcome.payload
    assert "found a coroutine, expected its result; await it" in payload.message


def test_a_path_of_another_system_is_text() -> None:
    """As one of this system is."""
    assert output_from([PurePosixPath("/a")]).outcome.payload == ["/a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), StopIteration()])
async def test_an_error_that_means_something_to_the_loop_is_an_error_of_the_tool(
    error: BaseException,
) -> None:
    """Raised in a thread it can come from nowhere else."""

    def broken() -> None:
        raise error

    with pytest.raises(RuntimeError, match=f"raised {type(error).__name__}"):
        await tool_from(broken).invoke({}, CONTEXT)
