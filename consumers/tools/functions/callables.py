"""
What a call of a tool calls: its parameters and its text, for every kind of callable.

A callable that a call by names cannot use is refused here, with what was found and what to do.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Generator, Iterable
from typing import Any, NoReturn

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import describe, printable

__all__ = ["called", "documentation", "parameters", "refuse", "target"]

_IN_A_DEF = "wrap it in a def with names and type hints"


def refuse(tool: str, found: str, do: str) -> NoReturn:
    """
    Refuse a function that cannot be a tool.

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(f"tool {tool!r}: {found}; {do}")


def called(function: Any) -> Any:
    """What runs; for a callable object its ``__call__``, as Python finds it."""
    if isinstance(function, functools.partial):
        return functools.partial(called(function.func), *function.args, **function.keywords)
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    if isinstance(inspect.getattr_static(function, "__signature__", None), inspect.Signature):
        return function
    for kind in type(function).__mro__:
        if "__call__" in vars(kind):
            # ``inspect`` is wrong about an object whose ``__call__`` is no plain method.
            found: Any = vars(kind)["__call__"]
            if hasattr(found, "__get__"):
                found = found.__get__(function, type(function))
            return called(found)
    return function


def target(function: Any) -> Any:
    """The function with the hints and the docstring: not a partial, nor a callable object."""
    found = _owner(function)
    if isinstance(found, staticmethod):
        found = found.__func__
    return found if inspect.isroutine(found) else type(found).__call__


def _owner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def documentation(function: object) -> str:
    """The whole docstring of a function, as text that can be sent; empty without one."""
    return _text_of(function).strip().encode(errors="backslashreplace").decode()


def _text_of(function: object) -> str:
    owner: object = _owner(function)
    if inspect.isclass(owner):
        return inspect.getdoc(owner) or ""
    text = inspect.getdoc(target(called(owner)))
    if not text and not inspect.isroutine(owner):
        text = inspect.getdoc(type(owner))
    return text or ""


# Parameters ----------------------------------------------------------------------------------


def parameters(tool: str, function: Any) -> list[inspect.Parameter]:
    """
    The parameters that get an argument of the call or its context.

    Args:
        tool: The tool's name, for errors.
        function: The function, from ``called``.

    Raises:
        ConfigurationError: When a call by names could not use it.
    """
    _check_kind(tool, function)
    try:
        told = inspect.signature(function)
    except Exception as problem:
        # The text about a partial has its arguments, which may be secrets.
        why = describe(problem) if _owner(function) is function else "its arguments do not fit"
        refuse(tool, f"its signature cannot be read ({why})", _IN_A_DEF)
    found = list(told.parameters.values())
    for parameter in found:
        _check_named(tool, parameter)
    if found and found[0].name in ("self", "cls") and _is_unbound(function, found[0]):
        refuse(
            tool,
            f"its first parameter is {found[0].name!r}, which no call gives",
            "register the method of an object: app.tool(instance.method)",
        )
    fixed = _fixed(function)
    found = [parameter for parameter in found if parameter.name not in fixed]
    _check_told(tool, function, told, found)
    return found


def _check_kind(tool: str, function: object) -> None:
    owner = _owner(function)
    if isinstance(owner, classmethod):
        refuse(tool, "it is a classmethod object", "register it after its class: Class.method")
    if not callable(owner):
        refuse(tool, f"it is a {type(owner).__name__}, which cannot be called", "give a function")
    if inspect.isclass(owner):
        name = printable(owner.__qualname__, 100)
        refuse(
            tool,
            f"it is a partial of the class {name}"
            if isinstance(function, functools.partial)
            else f"it is a class ({name}) that is neither a pydantic model nor a dataclass",
            "write a function that makes such an object and returns plain data",
        )
    if _is_generator(function):
        refuse(
            tool,
            "it is a generator, and a call has one result",
            "return a list, or send pieces with context.stream",
        )
    if getattr(owner, "__code__", None) in _CONTEXT_MANAGERS:
        refuse(
            tool,
            "it is a context manager, and a call has one result",
            "write a function that uses it and returns a value",
        )
    if _dispatches(owner):
        refuse(
            tool,
            "it is a singledispatch function, which chooses by an argument's position, but a call "
            "gives names",
            "register the function for one type (name.dispatch(int)), or wrap it in a def",
        )


def _check_named(tool: str, parameter: inspect.Parameter) -> None:
    match parameter.kind:
        case parameter.POSITIONAL_ONLY:
            do = f"remove the / after it, or {_IN_A_DEF} (also for a builtin)"
        case parameter.VAR_POSITIONAL:
            do = "take a list under a name (a decorator without functools.wraps hides names)"
        case parameter.VAR_KEYWORD:
            do = (
                "take a dict or a TypedDict under one name, or each argument by its name "
                "(a decorator without functools.wraps hides names)"
            )
        case _:
            return
    refuse(tool, f"the parameter {printable(str(parameter), 200)} cannot be given by name", do)


def _is_generator(function: object) -> bool:
    found = target(function)
    return inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found)


def _nothing() -> Generator[None]:
    yield


async def _later() -> AsyncGenerator[None]:
    yield


#: The code of context managers that ``contextlib`` makes of generators; all of them share it.
_CONTEXT_MANAGERS = (
    getattr(contextlib.contextmanager(_nothing), "__code__", ...),
    getattr(contextlib.asynccontextmanager(_later), "__code__", ...),
)


def _dispatches(function: object) -> bool:
    register = getattr(function, "register", None)
    if isinstance(getattr(register, "__self__", None), functools.singledispatchmethod):
        return True
    return all(hasattr(function, name) for name in ("dispatch", "registry", "__wrapped__"))


def _fixed(function: object) -> set[str]:
    """The arguments that a partial has already. They may be secrets, so a model is not told."""
    return set(_given(function)[2])


def _is_unbound(function: object, first: inspect.Parameter) -> bool:
    """Whether it is a plain function in the body of a class."""
    if first.annotation is not first.empty or isinstance(function, staticmethod):
        return False
    owner = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


# The signature that is told, and the real one ------------------------------------------------


def _given(function: Any) -> tuple[object, int, set[str]]:
    """The inner function, how many of its first arguments are given, and which others by name."""
    places, names = 0, set[str]()
    while True:
        if isinstance(function, functools.partial):
            places += len(function.args)
            names |= set(function.keywords)
            function = function.func
        elif inspect.ismethod(function):
            places += 1
            function = function.__func__
        elif isinstance(function, staticmethod):
            function = function.__func__
        else:
            return function, places, names


def _check_told(
    tool: str, function: object, told: inspect.Signature, found: Iterable[inspect.Parameter]
) -> None:
    """Refuse a decorator that tells another signature than its wrapper has: no call would work."""
    inner, places, names = _given(function)
    if not isinstance(inner, types.FunctionType):
        return
    own = inspect.signature(_bare(inner))
    every = [one.name for one in found]
    needed = [one.name for one in found if one.default is one.empty]
    for given in (every, needed):
        try:
            own.bind(*[None] * places, **dict.fromkeys([*names, *given]))
        except TypeError as problem:
            refuse(
                tool,
                f"it says that it takes {printable(str(told), 300)}, but it takes "
                f"{printable(str(own), 300)} ({problem})",
                "let its decorator take and pass on the same arguments, as **kwargs, or set "
                "__signature__ to what it takes",
            )


def _bare(function: types.FunctionType) -> types.FunctionType:
    """The function without the attributes that decorators set."""
    found = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    found.__kwdefaults__ = function.__kwdefaults__
    return found
