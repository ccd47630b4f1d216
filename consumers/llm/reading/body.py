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
    The body of one answer; its form can be told before all of it has arrived.

    Args:
        response: An unread response.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.request = response.request
        #: The charset of its text, when one is named and is not UTF-8; empty otherwise.
        self.charset = _charset(response)
        self._pieces = _unpacked(response)
        self._start = b""

    async def form(self, kind: str) -> Form:
        """
        Its form, without waiting for the rest.

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
        All of it, in UTF-8 when its charset is named.

        Raises:
            ModelCallError: When it cannot be unpacked.
        """
        try:
            content = b"".join([self._start, *[piece async for piece in self._pieces]])
        finally:
            await self.aclose()
        return content.decode(self.charset, "replace").encode() if self.charset else content

    async def aclose(self) -> None:
        """Close the connection."""
        await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._start
        async for piece in self._pieces:
            yield piece
        # The last event counts as well when a server leaves out the empty line after it.
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
