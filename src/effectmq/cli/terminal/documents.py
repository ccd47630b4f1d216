"""
JSON documents out of lines: one per line (JSON Lines), or pretty-printed over several lines.

A document over several lines begins with the line ``{`` and ends with the line ``}``; the lines
between them are indented, as pretty-printers write them. A line that is not indented ends the
document, so that a broken document spoils no other one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from effectmq.cli.terminal.lines import MAX_LINE_BYTES, Line, batches, opened

__all__ = ["count_documents", "documents", "hint"]

_BEGIN, _END = b"{", b"}"


class _Joiner:
    """Joins the lines of one document; the result has the number of its first line."""

    def __init__(self) -> None:
        self._held: list[Line] = []
        self._size = 0

    def feed(self, line: Line) -> Iterator[Line]:
        """The documents that are complete with this line."""
        text = line.data.rstrip()
        if self._held and text != _END and not text.startswith((b" ", b"\t")):
            yield from self.rest()
        if not self._held and text != _BEGIN:
            yield line
            return
        self._held.append(line)
        self._size += len(line.data) + 1
        if text == _END or self._size > MAX_LINE_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[Line]:
        """The incomplete document, if there is one, when no line follows."""
        held, self._held = self._held, []
        if held:
            too_long = self._size > MAX_LINE_BYTES
            data = b"" if too_long else b"\n".join(line.data for line in held)
            yield Line(held[0].number, data, too_long)
        self._size = 0


async def documents(source: AsyncIterator[Line]) -> AsyncIterator[Line]:
    """Each document as one ``Line`` with the number of its first line; keeps blank lines."""
    joiner = _Joiner()
    async for line in source:
        for document in joiner.feed(line):
            yield document
    for document in joiner.rest():
        yield document


def count_documents(path: str) -> int:
    """How many documents a file has; blank lines do not count."""
    joiner = _Joiner()
    with opened(path) as source:
        found = sum(
            sum(1 for document in joiner.feed(line) if document.data.strip() or document.too_long)
            for batch in batches(source)
            for line in batch
        )
    return found + sum(1 for _ in joiner.rest())


def hint(line: Line) -> str:
    """What to do about a line that looks like a part of a document; empty when it does not."""
    text = line.data.strip()
    if text.startswith(b"["):
        return ". Expected JSON Lines, one envelope a line, and no list of them: jq -c '.[]' FILE"
    if b"\n" in text or text.endswith((b"{", b"[", b",", b":")) or text[:1] in (b'"', b"}", b"]"):
        return (
            ". Expected JSON Lines, one envelope a line; one over several lines is read when its "
            "first line is { and its last }: jq . FILE makes it so, jq -c . FILE makes lines"
        )
    return ""
