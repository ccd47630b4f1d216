"""
Looks at dead letters: answered out of the index, which is made to agree with the queue beside them.

A look at the queue takes a turn at it, so it is made by one at a time and not more often than once
in a while; who asks meanwhile waits for it a moment, and is told how far the answer is exact.
"""

from __future__ import annotations

import asyncio

from effectmq.api.connections import Connections
from effectmq.broker.store.letters.audit import AuditLog
from effectmq.broker.store.letters.index import LetterIndex
from effectmq.protocol.errors import EffectmqError, TopologyError

__all__ = ["LetterLooks"]

#: How often the numbers of queue and index are compared, and how often a queue that is short is
#: looked through although they agree, in seconds.
_EVERY_S = 2.0
_THOROUGH_S = 30.0
#: So many times as long as the last look took, nobody looks again.
_SHARE = 5.0
#: How long the first answer waits for that, in seconds, and every other one.
_PATIENCE_S = 0.5
_SHORT_S = 0.1


class LetterLooks:
    """
    Looks at the dead letters of one place.

    Args:
        connections: Broker and database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._looking: asyncio.Task[None] | None = None
        self._looked_s = self._thorough_s = float("-inf")
        self._took_s = 0.0
        self._exact = False

    async def index(self) -> tuple[LetterIndex, bool]:
        """
        The index, and whether it has what the queue has, as far as is known.

        Raises:
            AwayError: When its database is away; or the broker, and nobody else writes the index.
        """
        index = LetterIndex(await self._connections.letters())
        if self._connections.place.journal is None:
            await self._connections.transport()
        return index, await self._agree()

    async def audit(self) -> AuditLog:
        """
        Who did what.

        Raises:
            AwayError: When the database is away.
        """
        return AuditLog(await self._connections.letters(), "")

    async def close(self) -> None:
        """End a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _agree(self) -> bool:
        loop = asyncio.get_running_loop()
        # A queue that takes long to look through is looked through less often.
        due_s = self._looked_s + max(_EVERY_S, _SHARE * self._took_s)
        if self._looking is None and loop.time() >= due_s:
            self._looking = loop.create_task(self._look(), name="effectmq api letters")
        if self._looking is not None:
            first = self._looked_s == float("-inf")
            await asyncio.wait([self._looking], timeout=_PATIENCE_S if first else _SHORT_S)
        return self._exact and self._looking is None

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        thorough = began_s - self._thorough_s >= _THOROUGH_S
        try:
            async with self._connections.desk() as desk:
                self._exact = (await desk.refresh(thorough=thorough)).exact
        except TopologyError:
            # No worker ever was here, so that there is no queue to have letters.
            self._exact = True
        except EffectmqError:
            self._exact = False
        else:
            if thorough:
                self._thorough_s = clock()
        finally:
            self._looked_s = clock()
            self._took_s = self._looked_s - began_s
            self._looking = None
