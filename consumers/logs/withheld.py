"""
Texts of exceptions without what the effect was given: a log line is read by more people than a
journal, and kept elsewhere.

An author's message often repeats an argument. Whatever of the command stands in a text is replaced;
secrets in addresses and behind names like ``token=`` are masked by ``printable``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pydantic_core import ValidationError

from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall

__all__ = ["masked", "without_values", "words_of"]

_MASK = "***"
#: A shorter text stands everywhere by chance, and masking it would spoil the sentence.
_SHORTEST = 4
#: Of a large command, so many values are looked for, and texts of at most so many characters: a
#: longer one does not fit into a line.
_MOST_VALUES = 2_000
_LONGEST = 2_000
#: Words of the wire format, which are no secret.
_NAMES = frozenset(("type", "model", "tool_name", "call_id", "role"))


def words_of(problem: BaseException) -> str:
    """An exception as a phrase; a validation error without the values that were refused."""
    if not isinstance(problem, ValidationError):
        return describe(problem)
    found = problem.errors(include_url=False, include_context=False, include_input=False)
    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return printable(f"ValidationError: {problem.title}: {said}{more}")


def without_values(text: str, request: Request) -> str:
    """The text, with every value of the effect's command in it replaced by ``***``."""
    command = request.envelope.command
    if isinstance(command, RuntimeEffectCommandToolCall):
        # What a tool is given may have any names; other commands have those of the wire format.
        return masked(text, command.call.args, frozenset())
    return masked(text, to_tree(command))


def masked(text: str, tree: object, names: frozenset[str] = _NAMES) -> str:
    """
    The text, with every value of a tree in it replaced by ``***``.

    Args:
        text: What an exception says.
        tree: What its author was given.
        names: Members whose values are no secret.
    """
    for value in sorted(set(islice(_values(tree, names), _MOST_VALUES)), key=len, reverse=True):
        for form in (value, repr(value)[1:-1]):
            if form in text:
                text = text.replace(form, _MASK)
    return text


def _values(tree: object, names: frozenset[str]) -> Iterator[str]:
    pending: list[object] = [tree]
    while pending:
        value = pending.pop()
        if is_object(value):
            pending.extend(item for name, item in value.items() if name not in names)
        elif is_array(value):
            pending.extend(value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            text = str(value)
            if len(text.strip()) >= _SHORTEST and len(text) <= _LONGEST:
                yield text
