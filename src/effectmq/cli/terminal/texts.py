"""Untrusted texts, made safe and short enough to show."""

from __future__ import annotations

import json

from effectmq.protocol.text import printable

__all__ = ["pretty", "short"]


def pretty(tree: object) -> str:
    """JSON for people: printable characters as they are, all others as JSON escapes."""
    text = json.dumps(tree, indent=2, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]
        for character in text
    )


def short(text: str, limit: int) -> str:
    """The text on one line of at most so many characters, for a cell."""
    line = printable(text, 10 * limit)
    return line if len(line) <= limit else line[: limit - 1] + "…"
