"""
Functions that a block calls, and that its worker lacks or has with other parameters. Pure.

Another worker may have them, while a deployment rolls. Read off the tokens and never by parsing,
because the text is hostile: what looks like a call inside of other text costs nothing, as long as
no other worker is known to have a function of that name.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator, Mapping

from effectmq.consumers.code.functions import Function
from effectmq.consumers.fleet.abilities import version_of
from effectmq.consumers.handler import Lack

__all__ = ["function_abilities", "lacking"]

#: Reading a longer text would hold the worker up; nothing that a model writes is as long.
_LONGEST = 50_000
_LAYOUT = (tokenize.NL, tokenize.COMMENT)


def function_abilities(functions: Mapping[str, Function]) -> dict[str, str]:
    """What workers tell each other about the functions that code can call."""
    return {_needs(name): _version(function) for name, function in functions.items()}


def lacking(code: str, functions: Mapping[str, Function]) -> list[Lack]:
    """
    Find them.

    Args:
        code: The block.
        functions: What its worker has, by their names in code.
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
    """The name of each call, then again with each of its keywords."""
    opened: list[str] = []
    before = last = ""
    for token in _tokens(code):
        text = token.string
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
        before, last = last, text


def _tokens(code: str) -> Iterator[tokenize.TokenInfo]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(code, newline="\n").readline):
            if token.type not in _LAYOUT:
                yield token
    except (tokenize.TokenError, SyntaxError):
        # The interpreter will say what is wrong with it.
        return
