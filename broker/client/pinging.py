"""
Find out whether a worker takes what is published to a route, and how long that takes.

A probe goes the way of an effect: exchange, work queue, worker. The worker answers it and no
handler sees it. So an answer proves the whole way; a worker that holds as much as it may is late.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from effectmq.broker.client.fleet.marks import pause_of
from effectmq.broker.transports.port import Consumer, Transport
from effectmq.protocol.errors import PublishError, UnroutableError
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.notices.probe import ProbeAnswer, probe
from effectmq.protocol.topology import EVERY_ROUTE, Names

__all__ = ["Ping", "ping"]

_PREFETCH = 100


@dataclass(frozen=True, slots=True)
class Ping:
    """
    What became of one probe.

    Attributes:
        route: Where it was sent to.
        worker: The worker that answered; empty when none did.
        took_s: From publishing to the answer, in seconds.
        problem: Why there is no answer, and what to do; empty when there is one.
    """

    route: str
    worker: str = ""
    took_s: float = 0.0
    problem: str = ""


async def ping(
    transport: Transport, names: Names, routes: Iterable[str], timeout_s: float
) -> list[Ping]:
    """
    Send a probe to a worker of each route.

    Args:
        transport: An open one.
        names: The namespace; its control exchange must exist.
        routes: Kinds, or ``kind.lane``.
        timeout_s: How long an answer may take, in seconds.

    Returns:
        One for each route, in their order.

    Raises:
        TopologyError: When there is no control exchange, because no worker ever was here.
        BrokerError: When the broker cannot be used.
    """
    consumer = await transport.listen(
        names.control,
        name=lambda: names.control_queue(f"ping-{secrets.token_hex(6)}"),
        prefetch=_PREFETCH,
    )
    awaited: dict[bytes, asyncio.Future[str]] = {}
    hearing = asyncio.get_running_loop().create_task(_hear(consumer, awaited), name="effectmq ping")
    try:
        one = _Pinger(transport, names, consumer, awaited, timeout_s)
        return list(await asyncio.gather(*map(one.ping, routes)))
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await consumer.close()


async def _hear(consumer: Consumer, awaited: dict[bytes, asyncio.Future[str]]) -> None:
    async for delivery in consumer:
        answer = ProbeAnswer.read(delivery.message)
        delivery.ack()
        waiting = awaited.get(answer.token) if answer is not None else None
        if answer is not None and waiting is not None and not waiting.done():
            waiting.set_result(answer.worker)


class _Pinger:
    """Sends probes, and waits for the answer of each."""

    def __init__(
        self,
        transport: Transport,
        names: Names,
        consumer: Consumer,
        awaited: dict[bytes, asyncio.Future[str]],
        timeout_s: float,
    ) -> None:
        self._transport = transport
        self._names = names
        self._consumer = consumer
        self._awaited = awaited
        self._timeout_s = timeout_s

    async def _pause(self, route: str) -> Pause | None:
        """Why no worker consumes it, when somebody wanted that."""
        own = await pause_of(self._transport, self._names, route)
        return own or await pause_of(self._transport, self._names, EVERY_ROUTE)

    async def ping(self, route: str) -> Ping:
        stats = await self._transport.stats(self._names.work_queue(route))
        if stats is None:
            return Ping(
                route, problem="it has no queue; start a worker that takes it, which makes one"
            )
        if not stats.consumers:
            pause = await self._pause(route)
            if pause is not None:
                return Ping(
                    route,
                    problem=f"it is {pause}; {stats.ready} message(s) wait. To end that: effectmq "
                    "workers resume",
                )
            # A probe would wait there for the next worker, long after anybody asks.
            return Ping(
                route,
                problem=f"no worker consumes it, and {stats.ready} message(s) wait; start one",
            )
        loop = asyncio.get_running_loop()
        token = secrets.token_bytes(16)
        answered = self._awaited[token] = loop.create_future()
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._transport.publish(
                    self._names.work_exchange,
                    route,
                    probe(token, reply_to=self._consumer.queue),
                    timeout=self._timeout_s,
                )
                return Ping(route, await answered, loop.time() - began_s)
        except UnroutableError:
            return Ping(route, problem="its queue is not bound; run: effectmq topology apply")
        except PublishError as problem:
            return Ping(route, problem=str(problem))
        except TimeoutError:
            return Ping(
                route,
                problem=f"no answer within {self._timeout_s:g} s; {stats.consumers} consumer(s) "
                f"and {stats.ready} message(s) before it: they are busy or stuck, or older than "
                "this command",
            )
        finally:
            del self._awaited[token]
