"""
The functions that code can call: which tools they are, and how arguments find their names. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from effectmq.consumers.code.values import CodeError
from effectmq.consumers.tools import Tool
from effectmq.protocol.errors import ConfigurationError

__all__ = ["Function", "Signatures", "functions_of", "signatures"]

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
        The arguments of a call by name. Whether they are right is for the tool to say.

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
    The parameters of registered tools, for instance of ``worker.tools``.

    The ``EffectContext`` of a tool is none of them.
    """
    return {name: tool.parameters for name, tool in tools.items()}


def functions_of(tools: Signatures) -> dict[str, Function]:
    """
    The functions for tools, by their names in code: ``-`` and ``.`` become ``_``.

    Raises:
        ConfigurationError: When two tools would have one name.
    """
    found: dict[str, Function] = {}
    for tool, parameters in tools.items():
        name = tool.replace("-", "_").replace(".", "_")
        if name in found:
            raise ConfigurationError(
                f"the tools {found[name].tool!r} and {tool!r} would both be called {name} in "
                "code; give one of them another name"
            )
        found[name] = Function(name, tool, tuple(parameters))
    return found
