"""
The workers of a namespace: who they are, what they do, and how they are steered while they run.

An ask goes to all workers over the control exchange, and each answers to the queue of whoever
asked. How many there are is what the broker says of limbo, which every worker consumes; so an
answer is complete as soon as the last one came, and it is known how many did not answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Self

from effectmq.broker.client.fleet.answers import Heard, Roster, WorkerSeen
from effectmq.broker.client.fleet.marks import pause_of, remove_mark, set_mark
from effectmq.broker.client.fleet.ramps import remove_ramp, set_ramp
from effectmq.broker.client.fleet.watching import Watch, Watches
from effectmq.broker.transports.port import Consumer, Transport
from effectmq.protocol.errors import ConfigurationError, ProtocolError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of, version_in
from effectmq.protocol.messages.fleet.asks import MOST_SLOTS, Ask, AskWord, WatchAsked, ask_message
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.fleet.ramps import Ramp
from effectmq.protocol.messages.fleet.reports import REPLY_TYPE, WorkerReply, read_reply
from effectmq.protocol.messages.fleet.watched import WATCHED_TYPE
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import printable
from effectmq.protocol.topology import EVERY_ROUTE, Names

__all__ = ["ANSWER_S", "Fleet"]

logger = logging.getLogger("effectmq.fleet")

#: How long workers may take to answer, in seconds, unless the caller says otherwise.
ANSWER_S = 2.0
_PREFETCH = 500
#: Replies that are kept of one ask; more come from somebody who plays workers.
_MOST_REPLIES = 10_000
#: How often to look whether a worker has left meanwhile, in seconds.
_RECOUNT_S = 0.25
#: How long to wait for workers that are not counted, because they drain, in seconds.
_UNCOUNTED_S = 0.2


#: A worker's name, host and process id.
_Key = tuple[str, str, int]


class Fleet:
    """
    The workers of a namespace. Use it as an asynchronous context manager, for long if it serves.

    Args:
        transport: An open one.
        names: The namespace; its control exchange must exist, which every worker declares.
        by: Who asks, noted on pauses and in the workers' logs; for people.
    """

    def __init__(self, transport: Transport, names: Names, *, by: str = "") -> None:
        self._transport = transport
        self._names = names
        self._by = printable(by, 200) if by else ""
        self._consumer: Consumer | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._asked: dict[str, dict[_Key, WorkerReply]] = {}
        self._heard = asyncio.Event()
        self._seen: dict[_Key, WorkerSeen] = {}
        #: Who answered the last time; ``None`` before the first.
        self._answered: set[_Key] | None = None
        self._watches = Watches()

    async def __aenter__(self) -> Self:
        """
        Begin to hear answers.

        Raises:
            TopologyError: When there is no control exchange, because no worker ever was here.
            AccessRefusedError: When the user may not listen there.
            BrokerError: When the broker cannot be used.
        """
        names = self._names
        self._consumer = await self._transport.listen(
            names.control,
            name=lambda: names.control_queue(f"fleet-{secrets.token_hex(6)}"),
            prefetch=_PREFETCH,
        )
        self._hearing = asyncio.get_running_loop().create_task(
            self._hear(self._consumer), name="effectmq fleet"
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Hear no more."""
        consumer, self._consumer = self._consumer, None
        self._watches.end()
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        if consumer is not None:
            await consumer.close()

    async def _hear(self, consumer: Consumer) -> None:
        async for delivery in consumer:
            delivery.ack()
            if delivery.message.type == WATCHED_TYPE:
                self._watches.heed(delivery.message)
            if delivery.message.type != REPLY_TYPE:
                continue
            try:
                reply = read_reply(delivery.message)
            except ProtocolError as problem:
                logger.info("an answer of a worker cannot be read and is ignored: %s", problem)
                continue
            replies = self._asked.get(reply.token)
            if replies is not None and len(replies) < _MOST_REPLIES:
                worker = reply.worker
                key = (worker.name, worker.host, worker.pid)
                replies[key] = reply
                self._heard.set()

    # Asking --------------------------------------------------------------------------------------

    async def _ask(
        self,
        word: AskWord,
        timeout_s: float,
        *,
        workers: Iterable[str] = (),
        routes: Iterable[str] = (),
        slots: int = 0,
        why: str = "",
        proofs: Iterable[str] = (),
        watch: WatchAsked | None = None,
    ) -> tuple[list[WorkerReply], int]:
        """Ask, and wait for all answers; returns them with how many workers gave none."""
        if self._consumer is None:
            raise ConfigurationError(
                "this Fleet is not open; use it inside 'async with Fleet(…) as fleet'"
            )
        token = secrets.token_hex(16)
        replies = self._asked[token] = {}
        wanted = tuple(workers)
        ask = Ask(
            word,
            token,
            self._consumer.queue,
            wanted,
            tuple(routes),
            slots,
            self._by,
            printable(why, 1_000) if why else "",
            tuple(proofs),
            watch,
        )
        try:
            await self._transport.publish(
                self._names.control, "", ask_message(ask), timeout=timeout_s
            )
            silent = await self._wait(replies, timeout_s)
        finally:
            del self._asked[token]
        found = sorted(replies.values(), key=lambda reply: reply.worker.name)
        now_ms = time.time_ns() // 1_000_000
        for key, reply in replies.items():
            self._seen[key] = WorkerSeen(reply.worker, now_ms)
        return found, silent

    async def _wait(self, replies: dict[_Key, WorkerReply], timeout_s: float) -> int:
        """Wait until every worker has answered, or for so long; returns how many did not."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        count = await self._count()
        while (left_s := began_s + timeout_s - loop.time()) > 0:
            if _counted(replies) >= count:
                # Who drains is not counted. Those who answered before are waited for, a moment.
                left_s = min(left_s, began_s + _UNCOUNTED_S - loop.time())
                known = self._answered
                if left_s <= 0 or (known is not None and known <= replies.keys()):
                    break
            self._heard.clear()
            try:
                async with asyncio.timeout(min(left_s, _RECOUNT_S)):
                    await self._heard.wait()
            except TimeoutError:
                count = await self._count()
        self._answered = set(replies)
        return max(0, count - _counted(replies))

    async def _count(self) -> int:
        stats = await self._transport.stats(self._names.limbo)
        return stats.consumers if stats is not None else 0

    # Looking -------------------------------------------------------------------------------------

    async def workers(self, *, timeout_s: float = ANSWER_S) -> Roster:
        """
        Ask every worker how it is.

        Args:
            timeout_s: How long they may take, in seconds; it takes no longer than the last answer.

        Raises:
            BrokerError: When the broker cannot be used.
        """
        replies, silent = await self._ask("report", timeout_s)
        answered = {(one.worker.name, one.worker.host, one.worker.pid) for one in replies}
        seen = [
            one if key in answered else replace(one, answered=False)
            for key, one in sorted(self._seen.items())
        ]
        paused = {
            route.route: route.paused
            for reply in replies
            for route in reply.worker.routes
            if route.paused is not None and route.paused.everywhere
        }
        return Roster(tuple(seen), silent, paused)

    def forget(self) -> None:
        """Forget the workers that answered earlier."""
        self._seen.clear()

    async def paused(self, routes: Iterable[str] = EFFECT_KINDS) -> dict[str, Pause]:
        """
        The routes that are paused for all workers, as the broker knows it.

        Args:
            routes: Kinds, or ``kind.lane``, to look at; the mark of all routes (``""``) is always
                looked at.

        Raises:
            BrokerError: When the broker cannot be used.
        """
        wanted = tuple(dict.fromkeys((EVERY_ROUTE, *routes)))
        found = await asyncio.gather(
            *(pause_of(self._transport, self._names, route) for route in wanted)
        )
        return {
            route: pause for route, pause in zip(wanted, found, strict=True) if pause is not None
        }

    # Steering ------------------------------------------------------------------------------------

    async def pause(
        self,
        routes: Iterable[str] = (),
        *,
        workers: Iterable[str] = (),
        why: str = "",
        timeout_s: float = ANSWER_S,
    ) -> Heard:
        """
        Stop taking effects; what workers hold goes on and is answered as usual.

        Without ``workers`` the routes are paused for all workers, also for those that start later:
        the broker keeps that until somebody resumes them. With ``workers`` only these take no more,
        until they are resumed or end.

        Args:
            routes: Kinds, or ``kind.lane``; empty for all.
            workers: Names of workers; empty for all.
            why: The reason, shown to whoever looks.
            timeout_s: How long workers may take to answer, in seconds.

        Raises:
            ConfigurationError: When a route does not exist.
            AccessRefusedError: When the user may not.
            BrokerError: When the broker cannot be used.
        """
        wanted, named = checked_routes(routes), tuple(workers)
        if named:
            return await self._tell("pause", named, wanted, timeout_s, why=why)
        pause = Pause(self._by, printable(why, 1_000) if why else "", time.time_ns() // 1_000_000)
        changed = [
            route
            for route in wanted or (EVERY_ROUTE,)
            if await set_mark(self._transport, self._names, route, pause)
        ]
        return await self._look(wanted, changed, timeout_s, why)

    async def resume(
        self,
        routes: Iterable[str] = (),
        *,
        workers: Iterable[str] = (),
        timeout_s: float = ANSWER_S,
    ) -> Heard:
        """
        Take effects again.

        Without routes and workers every pause ends, also those of single workers; but not that of a
        lane that no running worker has, which only its name finds. With routes, only their pause
        for all workers ends: a worker that was paused itself stays so, and says it.

        Args:
            routes: Kinds, or ``kind.lane``; empty for all.
            workers: Names of workers whose own pause ends; empty for all.
            timeout_s: How long workers may take to answer, in seconds.

        Raises:
            ConfigurationError: When a route does not exist, or all routes are paused and only some
                are to be resumed.
            AccessRefusedError: When the user may not.
            BrokerError: When the broker cannot be used.
        """
        wanted, named = checked_routes(routes), tuple(workers)
        if named:
            return await self._tell("resume", named, wanted, timeout_s)
        if wanted and await pause_of(self._transport, self._names, EVERY_ROUTE) is not None:
            raise ConfigurationError(
                "all routes are paused together, so single ones cannot be resumed; resume all of "
                "them, and pause those that shall stay so"
            )
        marked = wanted
        if not wanted:
            replies, _ = await self._ask("report", timeout_s)
            marked = (EVERY_ROUTE, *_routes_of(replies))
        changed = [
            route for route in marked if await remove_mark(self._transport, self._names, route)
        ]
        if not wanted:
            return replace(await self._tell("resume", (), (), timeout_s), changed=tuple(changed))
        return await self._look(wanted, changed, timeout_s, "")

    async def _look(
        self, routes: tuple[str, ...], changed: list[str], timeout_s: float, why: str
    ) -> Heard:
        """Let every worker look at the marks."""
        replies, silent = await self._ask("look", timeout_s, routes=routes, why=why)
        return Heard(tuple(replies), silent, tuple(changed))

    async def ramp(
        self,
        route: str,
        version: str,
        share: float,
        *,
        why: str = "",
        timeout_s: float = ANSWER_S,
    ) -> Heard:
        """
        Let workers of a version take a share of what is bound to none, and all others the rest.

        The broker keeps that until it is cleared or changed. With share 1 the other versions take
        only what is bound to them; with share 0 this one does.

        Args:
            route: A kind, or ``kind.lane``.
            version: The version.
            share: From 0 to 1.
            why: The reason, shown to whoever looks.
            timeout_s: How long workers may take to answer, in seconds.

        Raises:
            ConfigurationError: When route, version or share cannot be used.
            AccessRefusedError: When the user may not.
            BrokerError: When the broker cannot be used.
        """
        _check_shared(route)
        now_ms = time.time_ns() // 1_000_000
        ramp = Ramp(version, share, self._by, printable(why, 1_000) if why else "", now_ms)
        await set_ramp(self._transport, self._names, route, ramp)
        return await self._look((route,), [route], timeout_s, why)

    async def clear_ramp(self, route: str, *, timeout_s: float = ANSWER_S) -> Heard:
        """
        Let workers of all versions take what is bound to none.

        Args:
            route: A kind, or ``kind.lane``.
            timeout_s: How long workers may take to answer, in seconds.

        Raises:
            ConfigurationError: When the route does not exist.
            AccessRefusedError: When the user may not.
            BrokerError: When the broker cannot be used.
        """
        _check_shared(route)
        changed = [route] if await remove_ramp(self._transport, self._names, route) else []
        return await self._look((route,), changed, timeout_s, "")

    async def drain(
        self, workers: Iterable[str] = (), *, why: str = "", timeout_s: float = ANSWER_S
    ) -> Heard:
        """
        Let workers finish what they hold, and end.

        They take nothing more, give nothing back, and have no limit of time. After the last effect
        the process of ``effectmq worker`` ends with exit code 0.

        Args:
            workers: Their names; empty for all.
            why: The reason, for the workers' logs.
            timeout_s: How long they may take to answer, in seconds; not to finish.

        Raises:
            BrokerError: When the broker cannot be used.
        """
        return await self._tell("drain", tuple(workers), (), timeout_s, why=why)

    async def set_concurrency(
        self,
        slots: int,
        routes: Iterable[str] = (),
        *,
        workers: Iterable[str] = (),
        timeout_s: float = ANSWER_S,
    ) -> Heard:
        """
        Change how many effects of a route run at a time, until the worker ends.

        Args:
            slots: How many in each worker, 1 to 65535.
            routes: Kinds, or ``kind.lane``; empty for all of a worker.
            workers: Names of workers; empty for all.
            timeout_s: How long they may take to answer, in seconds.

        Raises:
            ConfigurationError: When the number or a route cannot be used.
            BrokerError: When the broker cannot be used.
        """
        if not 1 <= slots <= MOST_SLOTS:
            raise ConfigurationError(
                f"the concurrency is {slots}; expected 1 to {MOST_SLOTS} effects at a time. To "
                "take none, pause"
            )
        wanted = checked_routes(routes)
        return await self._tell("concurrency", tuple(workers), wanted, timeout_s, slots=slots)

    def watch(self, scope_id: str, replay_key: str, *, timeout_s: float = ANSWER_S) -> Watch:
        """
        See what a running effect streams, whoever asked for it. Payloads are shown as they are.

        Use what it returns as an asynchronous context manager, and iterate over it. The effect is
        copied from now on, best effort, and never waits for whoever watches.

        Args:
            scope_id: The scope of the effect.
            replay_key: Its replay key there.
            timeout_s: How long workers may take to answer, in seconds.
        """

        async def ask(asked: WatchAsked) -> Heard:
            return await self._tell("watch", (), (), timeout_s, watch=asked)

        return Watch(self._watches, Identity(scope_id, replay_key), ask)

    async def _tell(
        self,
        word: AskWord,
        workers: tuple[str, ...],
        routes: tuple[str, ...],
        timeout_s: float,
        *,
        slots: int = 0,
        why: str = "",
        watch: WatchAsked | None = None,
    ) -> Heard:
        ask = partial(
            self._ask,
            word,
            timeout_s,
            workers=workers,
            routes=routes,
            slots=slots,
            why=why,
            watch=watch,
        )
        replies, silent = await ask()
        proofs = [reply.proof for reply in replies if reply.did == "unproven"]
        if proofs:
            # They were asked by somebody who reads the answers: now they do it.
            replies, silent = await ask(proofs=proofs)
            replies = list(map(_settled, replies))
        if not workers:
            return Heard(tuple(replies), silent)
        meant = tuple(reply for reply in replies if reply.worker.name in workers)
        names = {reply.worker.name for reply in meant}
        return Heard(meant, silent, unknown=tuple(name for name in workers if name not in names))


def _counted(replies: Mapping[_Key, WorkerReply]) -> int:
    """How many of those who answered are counted by what they consume."""
    return sum(reply.worker.state != "draining" for reply in replies.values())


def _settled(reply: WorkerReply) -> WorkerReply:
    """A worker that wants another proof has done nothing: it was flooded with asks, or is new."""
    if reply.did != "unproven":
        return reply
    return replace(reply, did="refused", detail="It did not know the proof any more; ask again.")


def checked_routes(routes: Iterable[str]) -> tuple[str, ...]:
    """
    Routes, each once.

    Raises:
        ConfigurationError: When one does not exist.
    """
    wanted = tuple(dict.fromkeys(routes))
    for route in wanted:
        if kind_of(route) not in EFFECT_KINDS:
            raise ConfigurationError(
                f"there is no effect kind {printable(kind_of(route), 100)!r}; expected one of "
                f"{', '.join(EFFECT_KINDS)}, or kind.lane"
            )
    return wanted


def _check_shared(route: str) -> None:
    """
    Whether the effects of a route can be shared out among versions.

    Raises:
        ConfigurationError: When they cannot.
    """
    checked_routes([route])
    if version_in(route):
        raise ConfigurationError(
            f"the route {printable(route, 100)!r} names a version, and what is bound to one is not "
            "shared out; name the route without it"
        )


def _routes_of(replies: Iterable[WorkerReply]) -> tuple[str, ...]:
    """The kinds, and the lanes that workers have."""
    reported = (
        route.route
        for reply in replies
        for route in reply.worker.routes
        if kind_of(route.route) in EFFECT_KINDS
    )
    return tuple(dict.fromkeys((*EFFECT_KINDS, *reported)))
