"""
A worker does what it is asked over the control exchange, and answers.

Asks come from anybody who may publish there, so each is checked before anything is done, answers go
to queues of the namespace's control exchange only, few asks are under way at a time, and what
changes this worker needs the proof that whoever asks can read such a queue.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress

from effectmq.broker.transports.port import Transport
from effectmq.consumers.fleet.marks import Marks
from effectmq.consumers.fleet.pauses import Pauses
from effectmq.consumers.outboxes.watches import Watches
from effectmq.consumers.runtime.threads import Threads
from effectmq.consumers.serving.serving import Serving
from effectmq.consumers.serving.taps import Tap
from effectmq.protocol.errors import BrokerError, MalformedError, PublishError
from effectmq.protocol.messages.fleet.asks import ASK_TYPE, Ask, WatchAsked, read_ask
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.fleet.reports import Did, WorkerReply, WorkerReport
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import printable
from effectmq.protocol.topology import EVERY_ROUTE, Names

__all__ = ["Steering"]

logger = logging.getLogger("effectmq.worker")

#: Asks that may be under way at a time, and how long an answer may take to be sent, in seconds.
_MOST_ASKS = 32
_ANSWER_S = 5.0
_MOST_PROOFS = 256
#: How long a change may take to count before the answer says how it is so far, in seconds.
_TURN_S = 1.5

_Deed = tuple[Did, str]
#: ``look`` needs none: the broker has what counts.
_NEED_PROOF = ("pause", "resume", "drain", "concurrency", "watch")
_CHANGED: tuple[Did, ...] = ("paused", "resumed", "draining", "changed")


class Steering:
    """
    Hears what is asked of a worker, does it, and answers.

    Args:
        name: The worker's.
        transport: An open one.
        names: The namespace.
        serving: What it consumes.
        pauses: Routes that are not consumed.
        marks: Looks whether routes are paused for all workers.
        threads: Have to be as many as there are slots.
        watches: Copies chunks to those who watch.
        counters: ``asks_dropped``.
        report: How the worker is now.
        drain: Begins to drain; returns whether that is new.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        names: Names,
        serving: Serving,
        pauses: Pauses,
        marks: Marks,
        threads: Threads,
        watches: Watches,
        counters: Counter[str],
        report: Callable[[], WorkerReport],
        drain: Callable[[], bool],
    ) -> None:
        self._name = name
        self._transport = transport
        self._answers = f"{names.control}."
        self._serving = serving
        self._pauses = pauses
        self._marks = marks
        self._threads = threads
        self._watches = watches
        self._counters = counters
        self._report = report
        self._drain = drain
        #: Asks are done one after the other, in their order.
        self._order = asyncio.Lock()
        #: Proofs that were given out, the oldest first, and for what.
        self._proofs: OrderedDict[str, tuple[object, ...]] = OrderedDict()
        self.tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def is_for_it(message: Message) -> bool:
        """Whether a message on the control exchange asks something of workers."""
        return message.type == ASK_TYPE

    def heed(self, message: Message) -> None:
        """
        Do what a message asks, in the background.

        Raises:
            MalformedError: When it cannot be read.
        """
        ask = read_ask(message)
        if not ask.reply_to.startswith(self._answers):
            raise MalformedError(
                "reply_to", f"expected a queue whose name begins with {self._answers}"
            )
        if len(self.tasks) >= _MOST_ASKS:
            self._counters["asks_dropped"] += 1
            return
        self._spawn(self._carry_out(ask), "effectmq ask")

    def look_again(self) -> None:
        """Look at all marks: something may have been missed."""
        if len(self.tasks) < _MOST_ASKS:
            self._spawn(self._looked(), "effectmq marks")

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _looked(self) -> None:
        async with self._order:
            try:
                if await self._marks.look():
                    self._serving.turn()
            except BrokerError as problem:
                # Lost again: it looks at the next connection.
                logger.info("the marks of paused routes cannot be read: %s", problem)

    async def follow_marks(self) -> None:
        """Look again every so often while something is paused; ends by being cancelled."""
        changed = asyncio.Event()
        following = asyncio.ensure_future(self._marks.follow(changed))
        try:
            while True:
                await changed.wait()
                changed.clear()
                self._serving.turn()
        finally:
            following.cancel()

    # Doing -------------------------------------------------------------------------------------

    async def _carry_out(self, ask: Ask) -> None:
        if self._cannot_watch(ask):
            reply = WorkerReply(ask.token, "not_here", "", self._report())
        elif self._is_proven(ask):
            did, detail = await self._done(ask)
            reply = WorkerReply(ask.token, did, detail, self._report())
        else:
            reply = WorkerReply(ask.token, "unproven", "", self._report(), self._new_proof(ask))
        # Who asked may be gone by now.
        with suppress(BrokerError, PublishError):
            await self._transport.publish("", ask.reply_to, reply.message, timeout=_ANSWER_S)

    def _means_it(self, ask: Ask) -> bool:
        return not ask.workers or self._name in ask.workers

    def _cannot_watch(self, ask: Ask) -> bool:
        """Most workers do not have what is to be watched; to say so changes nothing."""
        if ask.word != "watch" or ask.watch is None or not self._means_it(ask):
            return False
        return not self._watches.runs(ask.watch.identity)

    def _is_proven(self, ask: Ask) -> bool:
        if ask.word not in _NEED_PROOF or not self._means_it(ask):
            return True
        given = next((proof for proof in ask.proofs if proof in self._proofs), "")
        return bool(given) and self._proofs.pop(given) == ask.deed

    def _new_proof(self, ask: Ask) -> str:
        proof = secrets.token_hex(16)
        self._proofs[proof] = ask.deed
        if len(self._proofs) > _MOST_PROOFS:
            self._proofs.popitem(last=False)
        return proof

    async def _done(self, ask: Ask) -> _Deed:
        if ask.word == "report" or not self._means_it(ask):
            return "reported", ""
        async with self._order:
            try:
                did, detail = await self._do(ask)
            except BrokerError as problem:
                return "refused", str(problem)
            finally:
                self._serving.turn()
        if did in _CHANGED:
            # What the mark of a route says is logged where it is looked at.
            level = logging.INFO if ask.word == "look" else logging.WARNING
            logger.log(
                level,
                "worker %s: %s %s%s",
                self._name,
                ", ".join(map(printable, ask.routes)) or "every route",
                did,
                f", as {ask.by} asked" if ask.by else "",
                extra={"action": "steered", "word": ask.word, "did": did, "by": ask.by},
            )
            if not await self._serving.turned(_TURN_S):
                detail = f"{detail} It is being done, the broker has not answered yet.".strip()
        return did, detail

    async def _do(self, ask: Ask) -> _Deed:
        taps = self._meant(ask)
        if ask.routes and not taps:
            return "not_here", "It does not take these routes."
        match ask.word:
            case "look":
                return await self._look(ask, taps)
            case "pause":
                return self._pause(ask, taps)
            case "resume":
                return await self._resume(ask, taps)
            case "drain":
                new = self._drain()
                return ("draining", "") if new else ("unchanged", "It drains already.")
            case "concurrency" if ask.slots:
                return self._set_slots(taps, ask.slots)
            case "watch" if ask.watch is not None:
                return self._watch(ask, ask.watch)
            case _:
                return "refused", f"This worker does not know how to {printable(ask.word, 40)}."

    def _watch(self, ask: Ask, asked: WatchAsked) -> _Deed:
        if not self._watches.runs(asked.identity):
            return "not_here", ""
        refusal = self._watches.begin(asked.identity, asked.token, ask.reply_to)
        return ("refused", refusal) if refusal else ("watching", "")

    def _meant(self, ask: Ask) -> list[Tap]:
        return [
            tap
            for tap in self._serving.taps
            if not tap.source.limbo and (not ask.routes or tap.key in ask.routes)
        ]

    async def _look(self, ask: Ask, taps: list[Tap]) -> _Deed:
        before = {tap.key: self._pauses.of(tap.key) is None for tap in taps}
        told = Pause(ask.by, ask.why, _now_ms())
        routes = ask.routes or (EVERY_ROUTE,)
        other = await self._marks.look(routes, dict.fromkeys(routes, told))
        after = {tap.key: self._pauses.of(tap.key) is None for tap in taps}
        changed = [route for route, taken in after.items() if taken != before[route]]
        if not changed:
            return ("changed" if other else "unchanged"), self._still(taps)
        return ("resumed" if after[changed[0]] else "paused"), self._still(taps)

    def _still(self, taps: list[Tap]) -> str:
        """Which of these routes its own pause keeps, for whoever resumed them everywhere."""
        own = [
            tap.key
            for tap in taps
            if (pause := self._pauses.of(tap.key)) is not None and not pause.everywhere
        ]
        return f"This worker itself is paused for {', '.join(own)}." if own else ""

    def _pause(self, ask: Ask, taps: list[Tap]) -> _Deed:
        pause = Pause(ask.by, ask.why, _now_ms(), everywhere=False)
        new = [tap.key for tap in taps if self._pauses.of(tap.key) is None]
        for route in [tap.key for tap in taps] if ask.routes else [EVERY_ROUTE]:
            self._pauses.here.setdefault(route, pause)
        return ("paused", "") if new else ("unchanged", "It was paused already.")

    async def _resume(self, ask: Ask, taps: list[Tap]) -> _Deed:
        before = [tap.key for tap in taps if self._pauses.of(tap.key) is not None]
        self._pauses.resume_here(tap.key for tap in taps if ask.routes)
        await self._marks.look()
        kept = [tap.key for tap in taps if self._pauses.of(tap.key) is not None]
        detail = f"Still paused: {', '.join(kept)}." if kept else ""
        return ("resumed" if set(before) - set(kept) else "unchanged"), detail

    def _set_slots(self, taps: list[Tap], slots: int) -> _Deed:
        before = {tap.key: self._serving.slots_of(tap) for tap in taps}
        former = {key: was for key, was in before.items() if was != slots}
        for tap in taps:
            self._serving.set_slots(tap, slots)
        self._threads.resize(self._serving.slots)
        if not former:
            return "unchanged", f"It was {slots} already."
        return "changed", ", ".join(f"{key}: {was} to {slots}" for key, was in former.items())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
