"""The body of an answer, looked at before it is read."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator

import httpx2

from effectmq.consumers.llm.reading.forms import Form, form_of, unreadable
from effectmq.protocol.text import printable

__all__ = ["Body"]


class Body(httpx2.AsyncByteStream):
    """
    The body of one answer; what it is can be told before all of it is there.

    Args:
        response: Whose body; unread.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.request = response.request
        #: What its text is written in, when that is said and is not UTF-8; empty otherwise.
        self.charset = _charset(response)
        self._pieces = _unpacked(response)
        self._start = b""

    async def form(self, kind: str) -> Form:
        """
        What it is; the rest is not waited for.

        Args:
            kind: Its content type.

        Raises:
            ModelCallError: When it cannot be unpacked.
        """
        found: Form | None = None
        while found is None:
            piece = await anext(self._pieces, None)
            self._start += piece or b""
            found = form_of(self._start, kind, ended=piece is None)
        return found

    async def whole(self) -> bytes:
        """
        All of it, in UTF-8 if it says what it is written in.

        Raises:
            ModelCallError: When it cannot be unpacked.
        """
        try:
            content = b"".join([self._start, *[piece async for piece in self._pieces]])
        finally:
            await self.aclose()
        return content.decode(self.charset, "replace").encode() if self.charset else content

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._start
        async for piece in self._pieces:
            yield piece
        # The last event counts, too, when a server leaves away the empty line behind it.
        yield b"\n\n"


def _charset(response: httpx2.Response) -> str:
    try:
        name = codecs.lookup(response.charset_encoding or "utf-8").name
    except LookupError:
        return ""
    return "" if name in ("utf-8", "ascii") else name


async def _unpacked(response: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_bytes():
            yield piece
    except httpx2.DecodingError:
        packed = printable(response.headers.get("content-encoding", ""), 60)
        raise unreadable(f"its body is not {packed}, as its content-encoding says") from None
