"""
Functions that a block calls, and that its worker lacks or has with other parameters. Pure.

During a rolling deployment another worker may have them. This looks at the tokens and does not
parse, because the text is hostile: what only looks like a call does no harm as long as no other
worker is known to have a function of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from effectmq.consumers.code.functions import Function
from effectmq.consumers.fleet.abilities import version_of
from effectmq.consumers.handler import Lack

__all__ = ["function_abilities", "lacking"]

#: A longer text is not read, because that would block the worker; no model writes that much.
_LONGEST = 50_000
#: Python's own tokenizer takes half a minute for an endless string of escapes. This pattern reads
#: each character once: matches are possessive (``*+``), and text may lack its end.
_PIECE = re.compile(
    r"""
    (?P<layout> [^\S\n]++ | \#[^\n]*+ | \\\n )
    | \"{3} (?: [^"\\] | \\. | "(?!"") )*+ (?: \"{3} | \Z | \\ )
    | \'{3} (?: [^'\\] | \\. | '(?!'') )*+ (?: \'{3} | \Z | \\ )
    | " (?: [^"\\\n] | \\. )*+ "?
    | ' (?: [^'\\\n] | \\. )*+ '?
    | \w++
    | [=!<>:+*/%&|^@-]=
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def function_abilities(functions: Mapping[str, Function]) -> dict[str, str]:
    """The abilities of a worker for the functions that its code can call."""
    return {_needs(name): _version(function) for name, function in functions.items()}


def lacking(code: str, functions: Mapping[str, Function]) -> list[Lack]:
    """
    Find the functions that this worker lacks.

    Args:
        code: The block.
        functions: The functions of this worker, by their names in code.
    """
    if len(code) > _LONGEST:
        return []
    found: dict[tuple[str, str], Lack] = {}
    for name, keyword in _calls(code):
        function = functions.get(name)
        version = _version(function) if function is not None else ""
        if function is None:
            problem = f"no function {name} can be called from code there"
        elif keyword and keyword not in function.parameters:
            problem = f"the function {name} has no parameter {keyword} there"
        else:
            continue
        found.setdefault((name, version), Lack(_needs(name), version, problem))
    return list(found.values())


def _needs(name: str) -> str:
    return f"code function {name}"


def _version(function: Function) -> str:
    return version_of({"parameters": list(function.parameters)})


def _calls(code: str) -> Iterator[tuple[str, str]]:
    """The name of each call, and again with each of its keywords."""
    opened: list[str] = []
    before = last = ""
    for text in _words(code):
        if text in ("(", "[", "{"):
            name = last if text == "(" and last.isidentifier() else ""
            opened.append("" if before in (".", "def", "class") else name)
            if opened[-1]:
                yield opened[-1], ""
        elif text in (")", "]", "}"):
            if opened:
                opened.pop()
        elif text == "=" and opened and opened[-1] and before in ("(", ","):
            yield opened[-1], last
        elif text == "\n" and opened:
            continue
        before, last = last, text


def _words(code: str) -> Iterator[str]:
    """The tokens of a text, without blanks and comments; each character is read once."""
    for found in _PIECE.finditer(code):
        if found.lastgroup != "layout":
            yield found[0]
