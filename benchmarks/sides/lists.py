"""Lists of effects: by what the client has for many, and by hand."""

from __future__ import annotations

import asyncio
from typing import Self

from benchmarks.sides.ours import OurClient
from benchmarks.sides.spec import Spec
from effectmq import RuntimeEffectEnvelope

__all__ = [
    "LIST",
    "GatheringClient",
    "ListClient",
    "MappingClient",
    "SubmittingClient",
    "SubmittingManyClient",
]

#: The effects of a list; 100 of them are under way at a time, where the client bounds it.
LIST = 1_000
_TIMEOUT_S = 600.0

_List = list[RuntimeEffectEnvelope]


class ListClient:
    """One call is a list of effects, which were prepared before."""

    def __init__(self, spec: Spec) -> None:
        self._ours = OurClient(spec)
        self._client = self._ours.client

    async def __aenter__(self) -> Self:
        await self._ours.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._ours.__aexit__(*exc_info)

    def prepare(self) -> _List:
        return [self._ours.prepare() for _ in range(LIST)]

    async def fill(self, count: int) -> None:
        await self._ours.fill(count)


class MappingClient(ListClient):
    """``client.map``, as they come."""

    async def call(self, prepared: _List) -> None:
        async for result in self._client.map(prepared, in_order=False, timeout=_TIMEOUT_S):
            _ = result.value


class GatheringClient(ListClient):
    """A task for each, all at once."""

    async def call(self, prepared: _List) -> None:
        await asyncio.gather(
            *(self._client.execute(envelope, timeout=_TIMEOUT_S) for envelope in prepared)
        )


class SubmittingManyClient(ListClient):
    """``client.submit_many``; the answers come while the next list is submitted."""

    async def call(self, prepared: _List) -> None:
        async for one in self._client.submit_many(prepared, timeout=_TIMEOUT_S):
            _ = one.handle


class SubmittingClient(ListClient):
    """``client.submit`` in a loop."""

    async def call(self, prepared: _List) -> None:
        for envelope in prepared:
            await self._client.submit(envelope, timeout=_TIMEOUT_S)
