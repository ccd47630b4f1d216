"""
Results in pieces: a function may return a generator, but an outcome has one value.

The pieces are collected here, as part of the call, because they do the work: in a thread when they
are not asynchronous, and within the time limit. They may be endless, so their number is limited.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from effectmq.consumers.runtime.threads import in_thread
from effectmq.consumers.tools.results.plain_data import is_iterator
from effectmq.protocol.errors import ToolCallError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["gathered"]

#: Far more than an answer needs; it only keeps an endless result from taking all memory.
_MOST = 1_000_000


async def gathered(result: object) -> object:
    """
    A result in pieces as a list; any other result unchanged.

    Raises:
        ToolCallError: When there are too many pieces.
        Exception: An exception of the generator.
    """
    if _is_async_iterator(result):
        return await _awaited(result)
    if is_iterator(result) and not isinstance(result, io.IOBase):
        return await in_thread(partial(_listed, result))
    return result


def _is_async_iterator(value: object) -> TypeIs[AsyncIterator[object]]:
    return isinstance(value, AsyncIterator)


def _listed(pieces: Iterator[object]) -> list[object]:
    found = list(islice(pieces, _MOST + 1))
    _check(found)
    return found


async def _awaited(pieces: AsyncIterator[object]) -> list[object]:
    found: list[object] = []
    try:
        async for piece in pieces:
            found.append(piece)
            _check(found)
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
    return found


def _check(found: list[object]) -> None:
    if len(found) > _MOST:
        raise ToolCallError(
            f"the tool returned more than {_MOST} pieces, perhaps without an end; return a list of "
            "the wanted ones",
            code="invalid_tool_result",
            class_="internal",
            source="runtime",
        )
