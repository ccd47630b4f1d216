"""
What is called when a tool is: its parameters and its text, whatever kind of callable it is.

A callable that a call by names could not use is refused here, with what was found and what to do.
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
    Say why something cannot be a tool.

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(f"tool {tool!r}: {found}; {do}")


def called(function: Any) -> Any:
    """What runs: of an object that can be called its ``__call__``, as Python finds it."""
    if isinstance(function, functools.partial):
        return functools.partial(called(function.func), *function.args, **function.keywords)
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    if isinstance(inspect.getattr_static(function, "__signature__", None), inspect.Signature):
        return function
    for kind in type(function).__mro__:
        if "__call__" in vars(kind):
            # What ``inspect`` makes of an object whose ``__call__`` is no plain method is wrong.
            found: Any = vars(kind)["__call__"]
            if hasattr(found, "__get__"):
                found = found.__get__(function, type(function))
            return called(found)
    return function


def target(function: Any) -> Any:
    """Where hints and text are: not on a partial, nor on an object that can be called."""
    found = _owner(function)
    if isinstance(found, staticmethod):
        found = found.__func__
    return found if inspect.isroutine(found) else type(found).__call__


def _owner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def documentation(function: object) -> str:
    """The whole docstring of what is called, as text that can be sent; empty when it has none."""
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
    The parameters that a call gives, or that get the context.

    Args:
        tool: The tool's name, for sentences.
        function: What is called, as ``called`` has it.

    Raises:
        ConfigurationError: When a call by names could not use it.
    """
    _check_kind(tool, function)
    try:
        told = inspect.signature(function)
    except Exception as problem:
        # What is said of a partial tells what it was given, secrets perhaps.
        why = describe(problem) if _owner(function) is function else "what it is given does not fit"
        refuse(tool, f"its signature cannot be read ({why})", _IN_A_DEF)
    found = list(told.parameters.values())
    for parameter in found:
        _check_named(tool, parameter)
    if found and found[0].name in ("self", "cls") and _is_unbound(function, found[0]):
        refuse(
            tool,
            f"its first parameter is {found[0].name!r}, and nobody gives that",
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
            "write a function that makes an object of it and returns plain data",
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
            "it is a singledispatch function, which chooses by an argument's place, and a call "
            "gives names",
            "register the function for one type (name.dispatch(int)), or wrap it in a def",
        )


def _check_named(tool: str, parameter: inspect.Parameter) -> None:
    match parameter.kind:
        case parameter.POSITIONAL_ONLY:
            do = f"take away the / after it, or {_IN_A_DEF} (a builtin, too)"
        case parameter.VAR_POSITIONAL:
            do = "take a list under a name (a decorator without functools.wraps hides names)"
        case parameter.VAR_KEYWORD:
            do = (
                "take a dict or a TypedDict under a name of its own, or the arguments one by one "
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


#: What ``contextlib`` makes of a generator: all that it makes run the same code.
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
    """What a partial has given already, secrets perhaps: that is no business of the model's."""
    return set(_given(function)[2])


def _is_unbound(function: object, first: inspect.Parameter) -> bool:
    """Whether it stands in the body of a class, and is a plain function all the same."""
    if first.annotation is not first.empty or isinstance(function, staticmethod):
        return False
    owner = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


# What is told, and what is so ----------------------------------------------------------------


def _given(function: Any) -> tuple[object, int, set[str]]:
    """The function inside, how many of its first arguments it has, and which others by name."""
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
    """A decorator may tell of another signature than its wrapper has: no call would work."""
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
                f"it says that it takes {printable(str(told), 300)}, and takes "
                f"{printable(str(own), 300)} ({problem})",
                "let its decorator take and pass on what it says, as **kwargs, or set "
                "__signature__ to what it takes",
            )


def _bare(function: types.FunctionType) -> types.FunctionType:
    """The function without what others have written on it."""
    found = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    found.__kwdefaults__ = function.__kwdefaults__
    return found
