"""
The functions that code can call: their tools, and the names of their arguments. Pure.
"""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.tools.registry import Tool
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = [
    "FINISH",
    "OWN_NAMES",
    "SHOW_IMAGE",
    "Function",
    "Signatures",
    "functions_of",
    "signatures",
    "usable",
]

#: Ends the block and the turn, with a value.
FINISH = "finish"
#: Puts an image into the outcome.
SHOW_IMAGE = "show_image"
#: The functions of every block.
OWN_NAMES = frozenset((FINISH, SHOW_IMAGE))

#: Without the names that ``site`` adds for people at a prompt.
_BUILTINS = frozenset(dir(builtins)) - {"copyright", "credits", "exit", "help", "license", "quit"}

#: The names of a tool's parameters, in order, by the tool's name.
Signatures = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Function:
    """
    A tool as code sees it.

    Attributes:
        name: Its name in code.
        tool: Its name on the wire.
        parameters: The names of its parameters, in order.
    """

    name: str
    tool: str
    parameters: tuple[str, ...]

    def bind(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        """
        The arguments of a call by name. The tool checks whether they are right.

        Raises:
            CodeError: When there are too many, or one is given twice.
        """
        if len(args) > len(self.parameters):
            raise CodeError(
                "TypeError",
                f"{self.name}() takes {len(self.parameters)} positional arguments but "
                f"{len(args)} were given",
            )
        bound = dict(zip(self.parameters, args, strict=False))
        twice = next((name for name in kwargs if name in bound), None)
        if twice is not None:
            raise CodeError(
                "TypeError", f"{self.name}() got multiple values for argument '{twice}'"
            )
        return bound | kwargs


def signatures(tools: Mapping[str, Tool]) -> dict[str, tuple[str, ...]]:
    """
    The parameters of registered tools, for instance those of ``worker.tools``.

    The ``EffectContext`` of a tool is not one of them.
    """
    return {name: tool.parameters for name, tool in tools.items()}


def functions_of(tools: Signatures) -> dict[str, Function]:
    """
    The functions for tools, by their names in code: ``-`` and ``.`` become ``_``.

    Raises:
        ConfigurationError: When two tools would have the same name, or a name cannot be used in
            code.
    """
    found, problems = usable(tools)
    if problems:
        more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
        raise ConfigurationError(
            f"{problems[0]}{more}; give it another name: @app.tool(name=...), or a prefix or only= "
            "for those of an MCP server"
        )
    return found


def usable(tools: Signatures) -> tuple[dict[str, Function], list[str]]:
    """
    The functions that code can call, and a sentence for each tool that cannot be one.

    Of two tools with the same name the first is taken, so that a later tool changes nothing.
    """
    found: dict[str, Function] = {}
    problems: list[str] = []
    for tool, parameters in tools.items():
        name = _name_in_code(tool)
        problem = _problem(tool, name)
        if not problem and name in found:
            problem = (
                f"the tools {found[name].tool!r} and {tool!r} would both be called {name} in code"
            )
        if problem:
            problems.append(problem)
        else:
            found[name] = Function(name, tool, tuple(parameters))
    return found, problems


def _name_in_code(tool: str) -> str:
    # As Python reads names: letters that only look different are the same.
    return unicodedata.normalize("NFKC", tool.replace("-", "_").replace(".", "_"))


def _problem(tool: str, name: str) -> str:
    shown = f"the tool {printable(tool, 100)!r} could not be called from code"
    if not name.isidentifier():
        return f"{shown}: {printable(name, 100)!r} is no name in Python"
    if keyword.iskeyword(name):
        return f"{shown}: {name} is a keyword of Python"
    if name in _BUILTINS or (name.startswith("__") and name.endswith("__")):
        return f"{shown}: {name} is Python's own, and would be hidden or hide it"
    if name in OWN_NAMES:
        return f"{shown}: {name}() belongs to every block"
    return ""
