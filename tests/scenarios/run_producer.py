"""
A producer process: submits a plan and writes down all that it sees, at once.

``python -m tests.scenarios.run_producer PLAN.json``; broker, namespace and identity come from the
environment, like those of any producer. One JSON object a line goes to the file of the plan:

================  ===============================================================================
``attempted``     about to be submitted
``unconfirmed``   ``submit`` raised, so it is tried again, as a user would
``acknowledged``  ``submit`` returned
``again``         an earlier process had it acknowledged, and no answer came: asked for once more
``outcome``       the caller has the answer
``timeout``       the caller gave up waiting; never mended by asking again
``received``      the client was given an answer, asked for or not, the first or a copy
``late``          a call that outlived its timeout by more than a second
================  ===============================================================================
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import IO, Any, TypedDict, TypeVar

from effectmq import Client, EffectTimeoutError, TransportSettings
from effectmq.broker.client.handle import Handle
from effectmq.broker.client.replies.book import ReplyBook
from effectmq.protocol.errors import BrokerError, PublishError
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from tests.scenarios.effects import Call, digest_of, effect_id, envelopes
from tests.scenarios.records import Records

__all__ = ["Plan", "Recorder", "run"]

#: What a call may take beyond its timeout.
_TOLERANCE_S = 1.0
_RESUBMISSIONS = 50
#: How long a producer that was started again waits for what is on its way, before it asks again.
_PATIENCE_S = 5.0
_POLL_S = 0.05

T = TypeVar("T")


class Plan(TypedDict):
    """
    What to do.

    ``submit`` are submitted, ``attach`` are only waited for; both are lists of calls. ``exact``
    says that of two answers every byte must be the same, ``go_on`` that the records may have the
    beginning of it all, written by an earlier process. ``stay`` is a file to wait for at the end.
    """

    submit: list[Call]
    attach: list[Call]
    in_flight: int
    submit_timeout_s: float
    reply_timeout_s: float
    records: str
    exact: bool
    go_on: bool
    stay: str


class Recorder:
    """Writes down all that a producer sees."""

    def __init__(self, records: IO[str], *, exact: bool) -> None:
        self._records = records
        self._exact = exact

    def write(self, event: str, effect_id: str, **more: object) -> None:
        """One line; it has left this process when this returns."""
        line = {"event": event, "effect": effect_id, "at": round(time.time(), 3), **more}
        self._records.write(json.dumps(line) + "\n")
        self._records.flush()

    def read_along(self, book: ReplyBook) -> None:
        """Write down every answer, copies included, before the book looks at it."""
        took = book.take

        def take(reply: Reply) -> None:
            self.write("received", reply.effect_id, **self.told(reply))
            took(reply)

        book.take = take  # type: ignore[method-assign]

    def told(self, reply: Reply) -> dict[str, object]:
        """What is written down of an answer."""
        error = reply.result if isinstance(reply.result, RuntimeEffectControllerError) else None
        return {
            "digest": digest_of(reply, exact=self._exact),
            "error": error.code if error else "",
            "replayed": reply.replayed,
        }


class _Producer:
    def __init__(self, client: Client, recorder: Recorder, plan: Plan) -> None:
        self._client = client
        self._recorder = recorder
        self._plan = plan
        self._places = asyncio.Semaphore(plan["in_flight"])

    async def submit(self, effect_id: str, envelope: RuntimeEffectEnvelope) -> None:
        """Submit one effect until it is confirmed, then wait for its outcome, once."""
        async with self._places:
            self._recorder.write("attempted", effect_id)
            limit_s = self._plan["submit_timeout_s"]
            for _ in range(_RESUBMISSIONS):
                try:
                    waiting = self._client.submit(envelope, timeout=limit_s)
                    handle = await self._timed(effect_id, "submit", limit_s, waiting)
                    break
                except (PublishError, BrokerError) as problem:
                    self._recorder.write("unconfirmed", effect_id, error=type(problem).__name__)
            else:
                return
            self._recorder.write("acknowledged", effect_id)
            await self._answer(effect_id, handle)

    async def attach(self, effect_id: str, envelope: RuntimeEffectEnvelope) -> None:
        """Wait for one effect that an earlier process of this identity submitted."""
        await self._answer(effect_id, self._client.attach(envelope))

    async def go_on(self, effect_id: str, envelope: RuntimeEffectEnvelope) -> None:
        """
        Wait a moment for an answer that may be on its way, then ask again.

        The earlier process may have taken the answer and died before it wrote it down.
        """
        async with self._places:
            waiting = self._client.attach(envelope).reply(_PATIENCE_S)
            try:
                reply = await self._timed(effect_id, "attach", _PATIENCE_S, waiting)
            except EffectTimeoutError:
                self._recorder.write("again", effect_id)
            else:
                self._recorder.write("outcome", effect_id, **self._recorder.told(reply))
                return
        await self.submit(effect_id, envelope)

    async def _answer(self, effect_id: str, handle: Handle) -> None:
        limit_s = self._plan["reply_timeout_s"]
        try:
            reply = await self._timed(effect_id, "reply", limit_s, handle.reply(limit_s))
        except EffectTimeoutError:
            self._recorder.write("timeout", effect_id)
        else:
            self._recorder.write("outcome", effect_id, **self._recorder.told(reply))

    async def _timed(self, effect_id: str, call: str, limit_s: float, waiting: Awaitable[T]) -> T:
        started = time.monotonic()
        try:
            return await waiting
        finally:
            over_s = time.monotonic() - started - limit_s
            if over_s > _TOLERANCE_S:
                self._recorder.write("late", effect_id, call=call, over_s=round(over_s, 3))


async def run(plan: Plan, client: Client) -> None:
    """Carry out a plan with a client of its own; every call is bounded, so this ends."""
    answered, acknowledged = _recorded(plan) if plan["go_on"] else (set[str](), set[str]())
    with open(plan["records"], "a") as records:  # noqa: ASYNC230 - one short line at a time
        recorder = Recorder(records, exact=plan["exact"])
        recorder.read_along(client._book)  # pyright: ignore[reportPrivateUsage]
        async with client:
            producer = _Producer(client, recorder, plan)
            async with asyncio.TaskGroup() as group:
                for known, envelope in _named(plan["attach"]):
                    group.create_task(producer.attach(known, envelope))
                for new, envelope in _named(plan["submit"]):
                    if new in answered:
                        continue
                    start = producer.go_on if new in acknowledged else producer.submit
                    group.create_task(start(new, envelope))
            while plan["stay"] and not os.access(plan["stay"], os.F_OK):  # noqa: ASYNC110 - a file
                await asyncio.sleep(_POLL_S)
        recorder.write("done", "", counters=dict(client.counters))


def _recorded(plan: Plan) -> tuple[set[str], set[str]]:
    """The effects whose outcome was written down, and those that were acknowledged."""
    lines = list(Records(Path(plan["records"])).lines())
    answered = {line["effect"] for line in lines if line["event"] == "outcome"}
    return answered, {line["effect"] for line in lines if line["event"] == "acknowledged"}


def _named(plan: list[Call]) -> list[tuple[str, RuntimeEffectEnvelope]]:
    return list(zip(map(effect_id, plan), envelopes(plan), strict=True))


if __name__ == "__main__":
    _plan: Any = json.loads(Path(sys.argv[1]).read_text())
    # One that is started while the broker is down waits for it rather than giving up.
    _patient = TransportSettings(name="producer", connect_timeout_s=60.0)
    asyncio.run(run(_plan, Client(transport=_patient)))
