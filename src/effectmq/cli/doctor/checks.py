"""
The checks of ``effectmq doctor``: each gives one finding, with advice when something is wrong.

Nothing is left on the broker but a reply queue, which expires after a minute, and nothing is
repaired: missing objects are only looked up. Existing objects are declared again with the expected
arguments, on a separate channel: the broker changes nothing and names every difference.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

from effectmq.broker.client.fleet.marks import pause_of
from effectmq.broker.inventory import Seen, full_topology, inventory
from effectmq.broker.transports.addresses import split_addresses
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import is_memory
from effectmq.cli.topology.bindings import try_binding
from effectmq.protocol.errors import (
    AccessRefusedError,
    EffectmqError,
    QueueFullError,
    UnroutableError,
)
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import (
    EVERY_ROUTE,
    Binding,
    Exchange,
    Names,
    Queue,
    Topology,
    TopologySettings,
    reply_topology,
)

__all__ = ["Checkup", "Finding", "Status"]

Status = Literal["OK", "WARN", "FAIL"]

_ROUND_TRIP_S = 5.0
_REPLY_EXPIRES_MS = 60_000
#: Before this version was written; a machine without a clock battery starts in 1970.
_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
_CLOCK_JUMP_S = 0.5
_OLDEST_RABBITMQ = (3, 10)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    The result of one check.

    Attributes:
        check: Its name; stable, for scripts.
        status: ``OK``, ``WARN`` (works, but look at it) or ``FAIL``.
        detail: A sentence.
    """

    check: str
    status: Status
    detail: str


@dataclass(slots=True)
class Checkup:
    """
    The checks of ``effectmq doctor``, against one broker.

    Attributes:
        transport: An open one.
        broker: Its address.
        settings: The namespace.
        routes: The kinds and lanes to check.
        longest_s: The longest time limit of an attempt among the workers, in seconds.
        consumer_timeout_s: The time after which the broker takes an unsettled delivery back, in
            seconds.
    """

    transport: Transport
    broker: str
    settings: TopologySettings
    routes: Sequence[str]
    longest_s: float
    consumer_timeout_s: float

    async def findings(self) -> AsyncIterator[Finding]:
        """Run the checks one after the other; a check that the broker refuses is a FAIL."""
        wall, steady = time.time(), time.monotonic()
        yield self._version()
        yield self._encryption()
        seen = await inventory(self.transport, self.settings, self.routes)
        async for finding in self._topology(seen):
            yield finding
        for finding in await self._queues(seen):
            yield finding
        yield await _guarded("unroutable", self._unroutable(seen))
        yield await _guarded("delivery", self._delivery())
        yield self._consumer_timeout()
        yield _clock(wall, steady)

    # The broker ----------------------------------------------------------------------------------

    def _version(self) -> Finding:
        server = self.transport.server
        name, _, version = server.partition(" ")
        if is_memory(self.broker):
            return Finding("broker", "OK", "in this process; no other program can reach it")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
        if name != "RabbitMQ" or len(numbers) < 2:
            return Finding(
                "broker", "WARN", f"{server or 'unnamed'}; effectmq is tested with RabbitMQ only"
            )
        if numbers < _OLDEST_RABBITMQ:
            return Finding("broker", "FAIL", f"{server} is too old; upgrade to 3.10 or later")
        return Finding("broker", "OK", server)

    def _encryption(self) -> Finding:
        addresses = [urlsplit(address) for address in split_addresses(self.broker)]
        for parts in addresses:
            host = parts.hostname or "localhost"
            if parts.scheme == "amqp" and host not in ("localhost", "::1") and host[:4] != "127.":
                return Finding(
                    "encryption",
                    "WARN",
                    f"the connection to {host} is not encrypted, the password included; use "
                    "amqps://",
                )
        if all(parts.scheme == "amqps" for parts in addresses):
            return Finding("encryption", "OK", "TLS")
        return Finding("encryption", "OK", "not needed: it does not leave this machine")

    # Queues --------------------------------------------------------------------------------------

    async def _topology(self, seen: list[Seen]) -> AsyncIterator[Finding]:
        existing = {one.queue for one in seen if one.stats is not None}
        if not existing:
            yield Finding(
                "topology",
                "WARN",
                f"nothing is declared in namespace {self.settings.namespace!r} yet; a worker "
                "declares what it needs, or run: effectmq topology apply",
            )
            return
        whole = full_topology(self.settings, self.routes)
        problems = await self._missing(seen, whole)
        try:
            things: list[Exchange | Queue] = [*whole.exchanges, *whole.queues]
            for one in things:
                problems += await self._different(one, existing)
            untried, unbound = await self._bindings(whole, existing)
        except AccessRefusedError as problem:
            yield Finding("topology", "WARN", f"cannot be compared: {problem}")
            return
        for sentence in (*problems, *unbound):
            yield Finding("topology", "FAIL", sentence)
        if not problems and not unbound:
            left = f"; bindings not tried where messages wait: {', '.join(untried)}"
            yield Finding(
                "topology",
                "OK",
                f"{len(existing)} queues are as they should be" + (left if untried else ""),
            )

    async def _missing(self, seen: list[Seen], whole: Topology) -> list[str]:
        """Exchanges and queues that should exist; workers make their work queues themselves."""
        queues = [one.queue for one in seen if one.stats is None and one.role != "work"]
        exchanges = [
            exchange.name
            for exchange in whole.exchanges
            if not await self.transport.has_exchange(exchange.name)
        ]
        found = [
            *([f"queues {', '.join(queues)}"] if queues else []),
            *([f"exchanges {', '.join(exchanges)}"] if exchanges else []),
        ]
        if not found:
            return []
        return [
            f"missing: {' and '.join(found)}. Effects, retries or dead letters have nowhere to "
            "go; restart a worker, or run: effectmq topology apply"
        ]

    async def _different(self, one: Exchange | Queue, existing: set[str]) -> list[str]:
        """Existing objects with other arguments than expected; missing ones are not made."""
        try:
            if isinstance(one, Queue):
                if one.name in existing:
                    await self.transport.declare(Topology(queues=(one,)))
            elif await self.transport.has_exchange(one.name):
                await self.transport.declare(Topology((one,)))
        except AccessRefusedError:
            raise
        except EffectmqError as problem:
            return [str(problem)]
        return []

    async def _bindings(self, whole: Topology, existing: set[str]) -> tuple[list[str], list[str]]:
        """The queues whose bindings were not tried, and a sentence for each missing binding."""
        names = Names(self.settings.namespace)
        untried: list[str] = []
        sentences: list[str] = []
        for one in whole.bindings:
            if one.queue not in existing or not await self.transport.has_exchange(one.exchange):
                continue
            works = one.exchange in (names.work_exchange, names.limbo)
            state = await try_binding(self.transport, one, workers=works)
            key = f" by {one.routing_key!r}" if one.routing_key else ""
            if state == "untried":
                untried.append(one.queue)
            elif state == "missing":
                sentences.append(
                    f"the exchange {one.exchange!r} and the queue {one.queue!r} are there, the "
                    f"binding between them{key} is not, so nothing arrives; run: effectmq topology "
                    f"apply{_kind(one, names)}"
                )
            elif state == "astray":
                sentences.append(
                    f"what is published to {one.exchange!r}{key} is taken and does not arrive in "
                    f"{one.queue!r}; look at: rabbitmqctl list_bindings, rabbitmqctl list_policies"
                )
        return untried, sentences

    async def _queues(self, seen: list[Seen]) -> list[Finding]:
        found: list[Finding] = []
        for one in seen:
            if one.stats is None:
                continue
            ready, consumers = one.stats.ready, one.stats.consumers
            if one.role == "work":
                pause = None if consumers else await self._pause(one.route)
                found.append(_consumers(one.route, ready, consumers, pause))
            elif one.role == "limbo":
                found.append(_limbo(ready, consumers))
            elif one.role == "dead":
                found.append(_dead(ready))
        return found

    async def _pause(self, route: str) -> Pause | None:
        names = Names(self.settings.namespace)
        own = await pause_of(self.transport, names, route)
        return own or await pause_of(self.transport, names, EVERY_ROUTE)

    # Delivery ------------------------------------------------------------------------------------

    async def _unroutable(self, seen: list[Seen]) -> Finding:
        if not any(one.role == "work" and one.stats is not None for one in seen):
            # Publishing to a missing exchange would close the channel.
            return Finding("unroutable", "OK", "not tried: no work queue is declared yet")
        exchange = Names(self.settings.namespace).work_exchange
        key = f"doctor-{secrets.token_hex(8)}"
        try:
            await self.transport.publish(exchange, key, _probe(b""), timeout=_ROUND_TRIP_S)
        except UnroutableError:
            return Finding("unroutable", "OK", "an effect of a missing kind comes back at once")
        except QueueFullError:
            pass
        return Finding(
            "unroutable",
            "FAIL",
            f"{exchange} accepted a message that no kind matches: an alternate exchange, or a "
            "binding that is not ours, takes what should come back, so effects of a missing kind "
            "vanish. Look at: rabbitmqctl list_policies, rabbitmqctl list_bindings",
        )

    async def _delivery(self) -> Finding:
        settings = replace(self.settings, reply_expires_ms=_REPLY_EXPIRES_MS)
        topology = reply_topology(settings, f"doctor-{secrets.token_hex(8)}")
        queue = topology.queues[0].name
        await self.transport.declare(topology)
        consumer = await self.transport.consume(queue, prefetch=1, exclusive=True)
        try:
            sent = secrets.token_bytes(16)
            started = time.monotonic()
            async with asyncio.timeout(_ROUND_TRIP_S):
                await self.transport.publish("", queue, _probe(sent))
                async for delivery in consumer:
                    delivery.ack()
                    if delivery.message.body == sent:
                        break
        except TimeoutError:
            return Finding(
                "delivery",
                "FAIL",
                f"a message to our own queue did not come back within {_ROUND_TRIP_S:g} s; look at "
                "the broker's log and its alarms",
            )
        finally:
            await consumer.close()
            await self.transport.delete(queue)
        took_ms = (time.monotonic() - started) * 1_000
        return Finding("delivery", "OK", f"published, confirmed and received in {took_ms:.1f} ms")

    def _consumer_timeout(self) -> Finding:
        if is_memory(self.broker):
            return Finding("consumer timeout", "OK", "memory:// has none")
        limits = (
            f"an attempt may run {self.longest_s:g} s, and the broker takes a delivery back after "
            f"{self.consumer_timeout_s:g} s"
        )
        if self.longest_s >= self.consumer_timeout_s:
            return Finding(
                "consumer timeout",
                "WARN",
                f"{limits}: raise consumer_timeout in rabbitmq.conf (milliseconds; from 3.12 on "
                "also a policy), or lower time_limit_s",
            )
        return Finding("consumer timeout", "OK", f"{limits} (its default, if it was not changed)")


def _kind(binding: Binding, names: Names) -> str:
    return f" --kind {binding.routing_key}" if binding.exchange == names.work_exchange else ""


async def _guarded(check: str, finding: Awaitable[Finding]) -> Finding:
    try:
        return await finding
    except EffectmqError as problem:
        return Finding(check, "FAIL", str(problem))


def _consumers(route: str, ready: int, consumers: int, pause: Pause | None) -> Finding:
    check = f"consumers {route}"
    if pause is not None:
        return Finding(
            check,
            "WARN",
            f"it is {pause}; {ready} effect(s) wait. To end that: effectmq workers resume {route}",
        )
    if consumers:
        return Finding(check, "OK", f"{consumers}, with {ready} effect(s) waiting")
    start = f"effectmq worker module:app --kind {route}"
    if ready:
        return Finding(check, "FAIL", f"none, and {ready} effect(s) wait; start one: {start}")
    return Finding(check, "WARN", f"none, and nothing waits; when there should be one: {start}")


def _limbo(ready: int, consumers: int) -> Finding:
    if not ready:
        return Finding("limbo", "OK", "empty")
    collected = (
        "workers send them home or park them"
        if consumers
        else "start a worker of any kind, which sends them home or parks them"
    )
    return Finding(
        "limbo",
        "WARN",
        f"the broker gave up on {ready} effect(s), whose workers were lost again and again; "
        f"{collected}",
    )


def _dead(ready: int) -> Finding:
    if not ready:
        return Finding("dead letters", "OK", "none")
    return Finding("dead letters", "WARN", f"{ready}; look at them with: effectmq dead list")


def _clock(wall_before: float, steady_before: float) -> Finding:
    """Deadlines and sleeps compare the clocks of different machines."""
    wall, steady = time.time(), time.monotonic()
    now = datetime.fromtimestamp(wall, UTC)
    shown = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    jump_s = (wall - wall_before) - (steady - steady_before)
    if now < _EARLIEST:
        return Finding("clock", "FAIL", f"it is {shown} here, which cannot be; set the clock")
    if abs(jump_s) > _CLOCK_JUMP_S:
        return Finding(
            "clock",
            "WARN",
            f"it was set {jump_s:+.1f} s during this check; keep the clocks of producers and "
            "workers together with NTP, deadlines and sleeps depend on it",
        )
    return Finding(
        "clock", "OK", f"{shown}; deadlines compare it with the clocks of the other machines"
    )


def _probe(body: bytes) -> Message:
    return Message(
        body=body,
        content_type="application/octet-stream",
        type="effectmq.doctor.v1",
        correlation_id="effectmq-doctor",
    )
