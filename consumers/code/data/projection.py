"""
How much of a long text the model is shown, and what it is told about the rest. Pure.

The beginning is kept: first the allowed number of lines, then the allowed number of characters.
"""

from __future__ import annotations

from effectmq.protocol.wire.execution import TextProjectionMetadata

__all__ = ["projected"]


def projected(text: str, *, limit_chars: int, max_lines: int) -> tuple[str, TextProjectionMetadata]:
    """
    Cut a text, and describe the cut.

    Args:
        text: The whole text.
        limit_chars: Characters to keep, counted as Unicode code points.
        max_lines: Lines to keep; a line ends with ``\\n``.
    """
    kept = _first_lines(text, max_lines)[:limit_chars]
    metadata = TextProjectionMetadata(
        truncated=len(kept) < len(text),
        original_chars=len(text),
        projected_chars=len(kept),
        original_lines=_lines(text),
        projected_lines=_lines(kept),
        limit=limit_chars,
        limit_mode="chars",
        max_lines=max_lines,
    )
    return kept, metadata


def _first_lines(text: str, count: int) -> str:
    end = -1
    for _ in range(count):
        end = text.find("\n", end + 1)
        if end < 0:
            return text
    return text[:end]


def _lines(text: str) -> int:
    """The number of lines; an unfinished last one counts."""
    return text.count("\n") + (not text.endswith("\n")) if text else 0
