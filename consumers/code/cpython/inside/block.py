"""
Runs the text of a block like an interactive prompt: the last expression is its value, and an error
has a traceback.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import traceback
from collections.abc import Collection, Coroutine
from types import CodeType, TracebackType

from effectmq.consumers.code.cpython.inside.awaited import awaited_calls
from effectmq.consumers.code.cpython.inside.later import Calls

__all__ = ["AWAITED", "LATER", "evaluate", "explained"]

_FILE = "<block>"
#: A name that no block uses by accident.
_VALUE = "__value_of_the_block__"
#: Another such name: calls a function of the worker, whose result is awaited later.
LATER = "__later__"
#: Another such name: makes an awaited value awaitable when it is the result of such a call.
AWAITED = "__awaited__"


def evaluate(
    code: str, variables: dict[str, object], functions: Collection[str], calls: Calls | None = None
) -> object:
    """
    Run a block.

    Args:
        code: The text of the block.
        variables: The variables of the session; the block changes them.
        functions: The names of the worker's functions.
        calls: The calls that run side by side.

    Returns:
        The value of the last expression; ``None`` when the block ends with a statement.

    Raises:
        BaseException: Any exception of the block.
    """
    # Tracebacks read the lines of the block from this cache.
    linecache.cache[_FILE] = (len(code), None, code.splitlines(keepends=True), _FILE)
    tree = ast.parse(code, _FILE)
    awaited = awaited_calls(code, functions)
    if calls is not None and ("asyncio" in code or not awaited <= _awaited_at_once(tree)):
        calls.install()
        tree = _Later(awaited).visit(tree)
    else:
        # Nothing can run side by side here, and an event loop takes long to start.
        tree = _Awaits(functions, AWAITED in variables).visit(tree)
    compiled = _compiled(tree)
    running = eval(compiled, variables)
    if inspect.iscoroutine(running):
        _run(running)
    return variables.pop(_VALUE, None)


def _run(running: Coroutine[object, object, object]) -> None:
    import asyncio

    asyncio.run(running)


def _compiled(tree: ast.Module) -> CodeType:
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body[-1]
        name = ast.Name(_VALUE, ast.Store())
        tree.body[-1] = ast.copy_location(ast.Assign([name], last.value), last)
    ast.fix_missing_locations(tree)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(tree, _FILE, "exec", flags=flags, dont_inherit=True)
    return code


def _awaited_at_once(tree: ast.Module) -> set[tuple[int, int]]:
    """The positions of calls directly after ``await``."""
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Await)]
    return {(one.lineno, one.col_offset) for one in values if isinstance(one, ast.Call)}


class _Awaits(ast.NodeTransformer):
    """
    Removes ``await`` before calls of the worker's functions, which return their result at once.
    """

    def __init__(self, functions: Collection[str], of_results: bool) -> None:
        self._functions = functions
        self._of_results = of_results

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        called = node.value
        if isinstance(called, ast.Call) and _named(called.func) in self._functions:
            return called
        return _of_results(node) if self._of_results else node


def _named(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else ""


class _Later(ast.NodeTransformer):
    """Replaces calls of the worker's functions that are awaited later by awaitables."""

    def __init__(self, calls: Collection[tuple[int, int]]) -> None:
        self._calls = calls

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func
        if isinstance(called, ast.Name) and (called.lineno, called.col_offset) in self._calls:
            later = ast.copy_location(ast.Name(LATER, ast.Load()), called)
            return ast.copy_location(ast.Call(later, [called, *node.args], node.keywords), node)
        return node

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        return _of_results(node)


def _of_results(node: ast.Await) -> ast.AST:
    """Await a value that may be the result of a call."""
    awaited = ast.copy_location(ast.Name(AWAITED, ast.Load()), node.value)
    value = ast.copy_location(ast.Call(awaited, [node.value], []), node.value)
    return ast.copy_location(ast.Await(value), node)


def explained(error: BaseException, limit_chars: int) -> tuple[str, str]:
    """
    The traceback of an error, from the block on, and its last line.

    Args:
        error: The error.
        limit_chars: How long each may be; a longer one loses its middle.
    """
    error.__traceback__ = _from_the_block(error.__traceback__)
    only = traceback.format_exception_only(error)
    # An error from before the run, such as a syntax error, has no frames of the block.
    lines = only if error.__traceback__ is None else traceback.format_exception(error)
    return _cut("".join(lines).rstrip(), limit_chars), _cut(only[0].rstrip(), limit_chars)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n…\n{text[-limit // 2 :]}"


def _from_the_block(frames: TracebackType | None) -> TracebackType | None:
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename != _FILE:
        first = first.tb_next
    return _until_the_host(first) if first is not None else None


def _until_the_host(first: TracebackType) -> TracebackType:
    """Remove the frames in which a function waited for the worker."""
    last = step = first
    while step.tb_next is not None:
        step = step.tb_next
        if "/consumers/code/cpython/inside/" in step.tb_frame.f_code.co_filename:
            last.tb_next = None
            break
        last = step
    return first
