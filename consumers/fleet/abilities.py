"""
What the other workers can do: told by each when it starts, over the control exchange.

While a deployment rolls, workers of two versions take from one queue, and what one of them lacks
may be there at its neighbour. So each says which tools and models it has, and in which version; one
that hears a newcomer answers with its own. Nobody depends on it: what is not known is waited for,
and who is gone without a word is found out by looking at its queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from effectmq.broker.transports.port import Transport
from effectmq.consumers.decisions.delivery import Known
from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
from effectmq.protocol.errors import EffectmqError, UnroutableError
from effectmq.protocol.messages.cancel_notice import Able, able_notice
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import describe

__all__ = ["Abilities", "taking", "version_of"]

logger = logging.getLogger("effectmq.worker")

_SEND_S = 5.0
_MOST_PEERS = 4_096
_DIGITS = 12


def version_of(schema: dict[str, Any]) -> str:
    """Tells one version of a tool's arguments from another; ``schema`` is their JSON Schema."""
    return sha256_hex(canonical_json(schema))[:_DIGITS]


def taking(route: str) -> str:
    """What workers tell each other that take effects from a route."""
    return f"route {route}"


class Abilities:
    """
    What this worker and its neighbours can do, as far as they have said so.

    Args:
        transport: Where to tell and to look.
        exchange: The control exchange.
        queue: This worker's own control queue, which names it.
        own: What it has, with versions.
        alone: Whether whoever could have it is in this process, and has been heard.
    """

    def __init__(
        self,
        transport: Transport,
        exchange: str,
        queue: str,
        own: Mapping[str, str],
        *,
        alone: bool,
    ) -> None:
        self._transport = transport
        self._exchange = exchange
        self._queue = queue
        self._own = dict(own)
        self._alone = alone
        self._peers: dict[str, Mapping[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._absent: set[str] = set()
        self._looking = False
        #: Whether whoever has been heard of has the same, so that nobody has anything else.
        self.alike = True

    def renew(self, queue: str) -> None:
        """
        Nothing was heard for a while, and nobody can answer under the former name: ask again.

        Args:
            queue: The control queue from now on.
        """
        self._queue = queue
        self._spawn(self.announce())

    async def announce(self) -> None:
        """Tell everybody, who will answer."""
        await self._tell(self._exchange, "", Able(self._queue, self._own, asks=True))

    async def leave(self) -> None:
        """Tell everybody that this worker is gone."""
        await self._tell(self._exchange, "", Able(self._queue, None))
        for task in self._tasks:
            task.cancel()

    def heed(self, said: Able) -> None:
        """Somebody else has come or gone."""
        if said.queue == self._queue:
            return
        self._absent.discard(said.queue)
        if said.able is None:
            self._forget(said.queue)
            return
        if len(self._peers) >= _MOST_PEERS and said.queue not in self._peers:
            del self._peers[next(iter(self._peers))]
        self._peers[said.queue] = said.able
        self._note_alike()
        if said.asks:
            self._spawn(self._tell("", said.queue, Able(self._queue, self._own)))

    def _forget(self, queue: str) -> None:
        self._peers.pop(queue, None)
        self._note_alike()

    def _note_alike(self) -> None:
        self.alike = all(able == self._own for able in self._peers.values())

    def version(self, needs: str) -> str:
        """The version in which this worker has something; empty when it has not."""
        return self._own.get(needs, "")

    def known(self, needs: str, version: str, route: str) -> Known:
        """
        Whether another worker can do what this one cannot.

        Args:
            needs: What for.
            version: The version in which this worker has it, when it has and that does not do.
            route: Where the effect waits: who never takes from there is of no help.
        """
        found = [
            queue
            for queue, able in self._peers.items()
            if able.get(needs, "") not in ("", version) and _takes(able, route)
        ]
        if found:
            self._look()
        if any(queue not in self._absent for queue in found):
            return "somebody"
        return "nobody" if version or self._alone else "unsure"

    def _look(self) -> None:
        """Find out who is gone, or away for the moment; for the next time."""
        if self._looking:
            return
        self._looking = True

        async def look() -> None:
            try:
                for queue in list(self._peers):
                    stats = await self._transport.stats(queue)
                    self._absent.discard(queue)
                    if stats is None:
                        self._forget(queue)
                    elif not stats.locked and not stats.consumers:
                        # Of an earlier release, whose control queues outlive their workers.
                        self._absent.add(queue)
            except EffectmqError as problem:
                logger.info("the other workers cannot be looked at: %s", describe(problem))
            finally:
                self._looking = False

        self._spawn(look())

    async def _tell(self, exchange: str, key: str, able: Able) -> None:
        message: Message = able_notice(able)
        try:
            await self._transport.publish(exchange, key, message, timeout=_SEND_S)
        except UnroutableError:
            # Nobody is there to be told: the last worker leaves, or who asked has gone.
            return
        except EffectmqError as problem:
            logger.info(
                "the other workers could not be told what this one can do: %s",
                describe(problem),
                extra={"action": "abilities_untold"},
            )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _takes(able: Mapping[str, str], route: str) -> bool:
    """Workers of an earlier release say of no route that they take it; of them it is believed."""
    return taking(route) in able or not any(each.startswith(taking("")) for each in able)
