"""
Which calls of the worker's functions a block awaits later: those that it awaits or gathers, or
keeps in a name that it awaits or gathers. All other calls return their result at once.

It looks at the tokens and does not parse: the text is hostile, and this also runs in the worker.
"""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["CONCURRENT", "awaited_calls", "gathered_with"]

#: Functions that take several awaitables, and run them side by side.
CONCURRENT = frozenset(
    ("gather", "wait", "wait_for", "shield", "as_completed", "ensure_future", "create_task")
)
_COLLECTS = frozenset(("append", "add", "insert", "setdefault"))
#: A longer text is not read, because that would block the worker; no model writes that much.
_LONGEST = 50_000
#: How many tokens around a token are looked at, how long a chain of names may be, and how deep
#: brackets may be nested; for the same reason.
_REACH = 100
_CHAIN = 10
_DEPTH = 20
_LAYOUT = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT)
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(slots=True)
class _Token:
    text: str
    is_name: bool
    line: int
    column: int
    #: The index of the bracket around it; -1 outside of all brackets.
    inside: int = -1
    #: For an opening bracket: the index of its closing one.
    closed: int = -1
    #: The index of the first token of its statement.
    statement: int = 0


@dataclass(slots=True)
class _Text:
    tokens: list[_Token] = field(default_factory=list[_Token])

    def text(self, index: int) -> str:
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def is_value_before(self, index: int) -> bool:
        """Whether the token before a bracket is called or indexed by it."""
        if index <= 0:
            return False
        before = self.tokens[index - 1]
        return before.text in (")", "]") or (before.is_name and not keyword.iskeyword(before.text))


def awaited_calls(code: str, names: Collection[str]) -> frozenset[tuple[int, int]]:
    """
    Find the calls that are awaited later.

    Args:
        code: The block.
        names: The worker's functions.

    Returns:
        The positions of their names: line from 1, column from 0 in bytes of UTF-8.
    """
    if not ("await" in code or "asyncio" in code) or len(code) > _LONGEST:
        return frozenset()
    text = _read(code)
    waited = _awaited_names(text, names)
    lines = code.split("\n")
    return frozenset(
        (token.line, _in_bytes(lines[token.line - 1], token.column))
        for index, token in enumerate(text.tokens)
        if token.is_name
        and token.text in names
        and text.text(index + 1) == "("
        and text.text(index - 1) not in (".", "def")
        and _is_awaited(text, index, waited)
    )


def gathered_with(code: str) -> tuple[int, str] | None:
    """
    The first keyword argument of a call of ``asyncio.gather``, and its line.

    Args:
        code: The block.
    """
    if not ("gather" in code and "asyncio" in code) or len(code) > _LONGEST:
        return None
    text = _read(code)
    for index, token in enumerate(text.tokens):
        if token.text != "gather" or text.text(index + 1) != "(":
            continue
        if text.text(index - 1) in ("def", "class"):
            # The block defines its own gather.
            return None
        for at in range(index + 2, text.tokens[index + 1].closed):
            named = text.tokens[at]
            if named.inside == index + 1 and named.is_name and text.text(at + 1) == "=":
                return named.line, named.text
    return None


def _in_bytes(line: str, column: int) -> int:
    return column if line.isascii() else len(line[:column].encode(errors="replace"))


def _read(code: str) -> _Text:
    found = _Text()
    stack: list[int] = []
    statement = 0
    try:
        for one in tokenize.generate_tokens(io.StringIO(code, newline="\n").readline):
            if one.type in _LAYOUT:
                continue
            index = len(found.tokens)
            if one.type == tokenize.NEWLINE or one.string == ";":
                statement = index + 1
            inside = stack[-1] if stack else -1
            token = _Token(one.string, one.type == tokenize.NAME, *one.start, inside)
            token.statement = statement
            found.tokens.append(token)
            if one.string and one.string in _OPEN:
                stack.append(index)
            elif one.string and one.string in _CLOSE and stack:
                token.inside = found.tokens[stack[-1]].inside
                found.tokens[stack.pop()].closed = index
            elif one.string == ":" and not stack:
                # What follows on the same line is another statement.
                statement = index + 1
    except (tokenize.TokenError, SyntaxError):
        # The interpreter will report the error in it.
        pass
    return found


def _awaited_names(text: _Text, functions: Collection[str]) -> set[str]:
    """Names whose values are awaited, or contain values that are."""
    found: set[str] = set()
    for index, token in enumerate(text.tokens):
        if not token.is_name or keyword.iskeyword(token.text) or token.text in functions:
            continue
        before, after = text.text(index - 1), text.text(index + 1)
        if (before == "await" and after not in ("(", ".")) or (
            _is_argument(text, index, before, after) and _in_concurrent(text, token.inside)
        ):
            found.add(token.text)
    for _ in range(_CHAIN):
        more = _held_by(text, found) - found
        if not more:
            break
        found |= more
    return found


def _is_argument(text: _Text, index: int, before: str, after: str) -> bool:
    is_values = after == "." and text.text(index + 2) in ("values", "copy")
    return before in ("(", ",", "*", "[") and (after in (",", ")", "]") or is_values)


def _in_concurrent(text: _Text, bracket: int) -> bool:
    """Whether a bracket belongs to a call of ``gather`` or the like, or to a display inside it."""
    for _ in range(_DEPTH):
        if bracket < 0:
            break
        if text.is_value_before(bracket):
            return text.text(bracket) == "(" and text.text(bracket - 1) in CONCURRENT
        bracket = text.tokens[bracket].inside
    return False


def _held_by(text: _Text, awaited: set[str]) -> set[str]:
    """The names that give such a name its value, as in ``for t in tasks`` and ``t = task``."""
    found: set[str] = set()
    for index, token in enumerate(text.tokens):
        source = text.tokens[index + 1] if index + 1 < len(text.tokens) else None
        if source is None or not source.is_name or keyword.iskeyword(source.text):
            continue
        targets: set[str] = set()
        if token.text == "in":
            start = index - 1
            while start >= 0 and text.text(start) not in ("for", "in") and index - start < 12:
                targets.add(text.text(start))
                start -= 1
            if text.text(start) != "for":
                continue
        elif token.text == "=" and token.inside < 0:
            start = max(token.statement, index - _REACH)
            targets = {one.text for one in text.tokens[start:index]}
            if text.text(index + 2) in ("(", ".", "["):
                continue
        if targets & awaited:
            found.add(source.text)
    return found


def _is_awaited(text: _Text, index: int, awaited: set[str]) -> bool:
    if text.text(index - 1) == "await":
        return True
    after = (
        text.text(text.tokens[index + 1].closed + 1) if text.tokens[index + 1].closed > 0 else ""
    )
    if after and (after in (".", "[", "(") or not (after[0].isalpha() or after[0] in ",)]}:;#\n")):
        # Its result is used at once.
        return False
    at, bracket = index, text.tokens[index].inside
    for _ in range(_DEPTH):
        if bracket < 0:
            return _is_kept(text, at, awaited)
        if _is_looked_through(text, at, bracket):
            return False
        if text.is_value_before(bracket):
            return _is_taken(text, bracket, awaited)
        if text.text(bracket - 1) == "await":
            return True
        at, bracket = bracket, text.tokens[bracket].inside
    return False


def _is_looked_through(text: _Text, index: int, bracket: int) -> bool:
    """Whether a token is after the ``in`` or the ``if`` of a comprehension."""
    at = index - 1
    while at > max(bracket, index - _REACH):
        token = text.tokens[at]
        if token.inside == bracket:
            if token.text in ("in", "if", "while", "not", "and", "or"):
                return True
            if token.text in (",", "for", "else", ":", "="):
                return False
        at -= 1
    return False


def _is_taken(text: _Text, bracket: int, awaited: set[str]) -> bool:
    """Whether the call around an argument awaits it, or stores it where it is awaited."""
    if text.text(bracket) != "(":
        return False
    callee = text.text(bracket - 1)
    if callee in CONCURRENT:
        return True
    return (
        callee in _COLLECTS and text.text(bracket - 2) == "." and text.text(bracket - 3) in awaited
    )


def _is_kept(text: _Text, index: int, awaited: set[str]) -> bool:
    """Whether the statement assigns it to a name that is awaited."""
    start = max(text.tokens[index].statement, index - _REACH)
    targets: set[str] = set()
    for at in range(index - 1, start - 1, -1):
        token = text.tokens[at]
        if token.text in ("=", "+=", ":=") and token.inside < 0:
            targets = {one.text for one in text.tokens[start:at] if one.is_name}
            break
        if token.text == "in" and token.inside < 0 and text.text(start) == "for":
            targets = {one.text for one in text.tokens[start + 1 : at] if one.is_name}
            break
    return bool(targets & awaited)
