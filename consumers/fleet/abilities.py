"""
What the other workers can do. Each worker tells it over the control exchange when it starts.

During a rolling deployment, workers of two versions take from one queue, and one of them may have
what the other lacks. So each announces its tools and models with their versions, and answers a new
worker with its own. No correctness depends on it: an effect waits for an ability that is not
known, and a worker that is gone without a notice is found by looking at its queue.
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
from effectmq.protocol.kinds import unprioritized
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.cancel import Able, able_notice
from effectmq.protocol.text import describe

__all__ = ["Abilities", "taking", "version_of"]

logger = logging.getLogger("effectmq.worker")

_SEND_S = 5.0
_MOST_PEERS = 4_096
_DIGITS = 12


def version_of(schema: dict[str, Any]) -> str:
    """A short name for the version of a tool's arguments; ``schema`` is their JSON Schema."""
    return sha256_hex(canonical_json(schema))[:_DIGITS]


def taking(route: str) -> str:
    """The ability of a worker that takes effects from a route."""
    return f"route {route}"


class Abilities:
    """
    What this worker and the others can do, as far as they have announced it.

    Args:
        transport: Where to publish and to look.
        exchange: The control exchange.
        queue: This worker's own control queue, which names it.
        own: This worker's abilities, with their versions.
        alone: Whether every worker is in this process, so that all have been heard.
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
        #: Whether all known workers have the same abilities, so that no other one can have more.
        self.alike = True

    def renew(self, queue: str) -> None:
        """
        Ask again under a new name: notices may have been missed, and answers to the old name are
        lost.

        Args:
            queue: The new control queue.
        """
        self._queue = queue
        self._spawn(self.announce())

    async def announce(self) -> None:
        """Tell every worker; each answers."""
        await self._tell(self._exchange, "", Able(self._queue, self._own, asks=True))

    async def leave(self) -> None:
        """Tell every worker that this one is leaving."""
        await self._tell(self._exchange, "", Able(self._queue, None))
        for task in self._tasks:
            task.cancel()

    def heed(self, said: Able) -> None:
        """Another worker has started or is leaving."""
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
        """This worker's version of an ability; empty when it does not have it."""
        return self._own.get(needs, "")

    def known(self, needs: str, version: str, route: str) -> Known:
        """
        Whether another worker can do what this one cannot.

        Args:
            needs: The ability.
            version: This worker's version of it, when that is the wrong one.
            route: Where the effect waits: a worker that does not take from there cannot help.
        """
        # Who takes from a route takes from the queues of its priorities.
        route = unprioritized(route)
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
        """Find out which workers are gone or away, for the next question."""
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
                        # A control queue of an earlier release, which outlives its worker.
                        self._absent.add(queue)
            except EffectmqError as problem:
                logger.info(
                    "the control queues of the other workers cannot be read: %s", describe(problem)
                )
            finally:
                self._looking = False

        self._spawn(look())

    async def _tell(self, exchange: str, key: str, able: Able) -> None:
        message: Message = able_notice(able)
        try:
            await self._transport.publish(exchange, key, message, timeout=_SEND_S)
        except UnroutableError:
            # There is no other worker: this one was the last, or the one that asked has gone.
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
    """Whether a worker takes from a route; one of an earlier release does not say, and may."""
    return taking(route) in able or not any(each.startswith(taking("")) for each in able)
