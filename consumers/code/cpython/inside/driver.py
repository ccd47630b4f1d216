"""
The program in the sandbox: drops its rights, then runs one block and reports to the worker.

All code here runs before the block or at its request; the worker trusts nothing that it says.
"""

from __future__ import annotations

import builtins
import os
import random
import resource
import sys
from collections.abc import Callable
from types import ModuleType

from effectmq.consumers.code.cpython.inside import clock
from effectmq.consumers.code.cpython.inside.block import AWAITED, LATER, evaluate, explained
from effectmq.consumers.code.cpython.inside.kept import TooLargeError, remember, restore
from effectmq.consumers.code.cpython.inside.later import Calls
from effectmq.consumers.code.cpython.inside.timers import Timers
from effectmq.consumers.code.cpython.inside.wire import Instructions, Wire

__all__ = ["main"]


def main() -> None:
    """Run the one block of this process."""
    wire = Wire()
    program = wire.instructions()
    state = wire.read_text() if program["has_state"] else None
    _drop_to(program["user"])
    _limit(program["limits"])
    block = _Block(wire, program)
    try:
        block.restore(state)
    except ValueError as problem:
        wire.write({"type": "unreadable", "problem": str(problem)})
        return
    wire.write({"type": "ready"})
    document, state = block.run()
    wire.flush()
    wire.write(document, *([] if state is None else [state]))
    # Threads and exit functions of the block are not waited for.
    os._exit(0)


def _drop_to(user: int | None) -> None:
    """Become another user: limits on processes do not bind root."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _limit(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


class _Block:
    def __init__(self, wire: Wire, program: Instructions) -> None:
        self._code = program["code"]
        self._seed = program["seed"]
        self._value_chars = program["value_chars"]
        self._state_bytes = program["state_bytes"]
        self._depth = program["depth"]
        limit_bytes = program["argument_bytes"]
        self._calls = Calls(wire, limit_bytes, Timers(clock.install(wire)))
        self._functions = {
            name: _function(wire, name, limit_bytes, self._calls) for name in program["functions"]
        }
        # Code that looks up its own module, such as that of data classes, must find it.
        sys.modules["__main__"] = module = ModuleType("__main__")
        self._variables: dict[str, object] = vars(module)
        self._variables["__builtins__"] = builtins
        names = {id(function): name for name, function in self._functions.items()}
        self._variables[LATER] = _later(self._calls, names)
        self._variables[AWAITED] = self._calls.awaited
        self._own = set(self._variables)
        self._forgotten: dict[str, str] = {}

    def restore(self, state: str | None) -> None:
        self._variables.update(self._functions)
        if state is None:
            random.seed(self._seed)
            return
        kept, self._forgotten, randomness = restore(state)
        self._variables.update(kept)
        try:
            random.setstate(randomness)
        except TypeError as problem:
            raise ValueError(str(problem)) from None

    def run(self) -> tuple[dict[str, object], str | None]:
        """The document that ends the block, and the line with the state, if that is kept."""
        sys.setrecursionlimit(self._depth)
        value = error = exception = ""
        try:
            last = evaluate(self._code, self._variables, self._functions, self._calls)
            value = "" if last is None else repr(last)[: self._value_chars]
            del last
        except BaseException as problem:
            if isinstance(problem, MemoryError) and not problem.args:
                # Free memory to be able to report this.
                problem.__traceback__ = None
                self._variables.clear()
                return {"type": "done", "fault": "memory"}, None
            self._hint(problem)
            error, exception = explained(problem, self._value_chars)
        document: dict[str, object] = {
            "type": "done",
            "value": value,
            "error": error,
            "exception": exception,
        }
        return self._with_state(document)

    def _with_state(self, document: dict[str, object]) -> tuple[dict[str, object], str | None]:
        try:
            kept = remember(self._session(), random.getstate(), self._state_bytes)
        except TooLargeError as problem:
            return {"type": "done", "fault": "state", "size_bytes": problem.size_bytes}, None
        except MemoryError:
            self._variables.clear()
            return {"type": "done", "fault": "memory"}, None
        return document, kept

    def _session(self) -> dict[str, object]:
        return {
            name: value
            for name, value in self._variables.items()
            if name not in self._own and value is not self._functions.get(name, self)
        }

    def _hint(self, problem: BaseException) -> None:
        """Add to the error what became of a name that an earlier block defined."""
        name = getattr(problem, "name", None)
        if isinstance(problem, NameError) and name in self._forgotten:
            problem.add_note(
                f"{name} was a {self._forgotten[name]}, and only plain data is kept from block to "
                "block: numbers, text, True, False, None, and lists and dicts of these. "
                "Define or import it again"
            )


def _later(calls: Calls, names: dict[int, str]) -> object:
    def later(function: Callable[..., object], *args: object, **kwargs: object) -> object:
        name = names.get(id(function))
        # The block may have defined its own function of that name.
        return function(*args, **kwargs) if name is None else calls.begin(name, args, kwargs)

    return later


def _function(wire: Wire, name: str, limit_bytes: int, calls: Calls) -> object:
    def function(*args: object, **kwargs: object) -> object:
        calls.given = True
        return wire.call(name, args, kwargs, limit_bytes)

    function.__name__ = function.__qualname__ = name
    return function
