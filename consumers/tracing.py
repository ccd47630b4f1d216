"""
A worker that is traced: its road and its handlers, each with something around it.

Nothing of this is called in a worker that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import replace

from effectmq.broker.inheritance import carrying_out, inherited
from effectmq.broker.store.journal.records import WhenDoubtful
from effectmq.broker.tracing import Ending, Tracing, harmless, open_span
from effectmq.consumers.answering import WaitForAnswer
from effectmq.consumers.decisions.delivery import Delay
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import (
    EffectContext,
    Handler,
    HandlerTimeoutError,
    NotHere,
    TryAgain,
    checked_outcome,
)
from effectmq.consumers.pipeline.job import Job
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.reply import Answer
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["TracedHandler", "traced_road"]

Road = Callable[[Job], Coroutine[object, object, None]]

#: The job of the task that runs; an attempt is a task of its own and copies it.
_JOB: ContextVar[Job | None] = ContextVar("effectmq_job", default=None)


def traced_road(tracing: Tracing, road: Road, exchange: str, queue: str) -> Road:
    """
    The road with a span around each delivery.

    Args:
        tracing: The library of traces.
        road: Carries out one delivery.
        exchange: Where effects are published.
        queue: Where deliveries come from.
    """

    async def carry_out(job: Job) -> None:
        _JOB.set(job)
        delivery = job.delivery
        message, route = delivery.message, delivery.routing_key
        with open_span(tracing.delivering(message, exchange, route, queue)) as span:
            await road(job)
            if span is not None:
                with harmless():
                    span.ended(job.request, *_ending(job))

    return carry_out


class TracedHandler:
    """
    A handler with a span around each attempt; what its body asks for belongs to the attempt.

    Args:
        handler: What runs.
        tracing: The library of traces.
    """

    def __init__(self, handler: Handler, tracing: Tracing) -> None:
        self._handler = handler
        self._tracing = tracing

    def __getattr__(self, name: str) -> object:
        # What a handler has beyond the port, such as ``lacks``.
        return getattr(self._handler, name)

    @property
    def kind(self) -> str:
        """That of the handler."""
        return self._handler.kind

    @property
    def retry(self) -> RetryPolicy:
        """That of the handler."""
        return self._handler.retry

    def limit_s(self, request: Request) -> float | None:
        """That of the handler."""
        return self._handler.limit_s(request)

    def on_uncertain(self, request: Request) -> WhenDoubtful:
        """That of the handler."""
        return self._handler.on_uncertain(request)

    def timed_out(
        self, request: Request, limit_s: float
    ) -> RuntimeEffectOutcome | WrittenOutcome | TryAgain | HandlerTimeoutError:
        """The handler's; the span ended when the attempt was cancelled."""
        return self._handler.timed_out(request, limit_s)

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcome | WrittenOutcome | TryAgain | NotHere | WaitForAnswer:
        """Run one attempt inside of its span."""
        job = _JOB.get()
        known = request if job is None else job.known
        last = str(known.message.headers.get(names.LAST_ATTEMPT, ""))
        with open_span(self._tracing.attempting(request, last)) as span:
            if span is None or not span.traceparent:
                return await self._handler.run(request, context)
            parent, state = span.traceparent, span.tracestate
            if job is not None:
                # Each copy of the effect from now on says which attempt was the last one.
                job.request = _with_header(known, names.LAST_ATTEMPT, parent)
                job.trace = parent
            context = replace(context, traceparent=parent, tracestate=state)
            with carrying_out(replace(inherited(), traceparent=parent, tracestate=state)):
                result = await self._handler.run(request, context)
            if isinstance(result, (TryAgain, NotHere)):
                with harmless():
                    span.ended(None, result.problem)
                return result
            if isinstance(result, WaitForAnswer):
                with harmless():
                    span.ended(None, "handed out")
                return result
            if isinstance(result, WrittenOutcome):
                with harmless():
                    span.ended(result.model)
                return result
            outcome = checked_outcome(request.kind, result)
            with harmless():
                span.ended(outcome)
            return outcome


def _with_header(request: Request, name: str, value: str) -> Request:
    headers = {**request.message.headers, name: value}
    return replace(request, message=replace(request.message, headers=headers))


def _ending(job: Job) -> tuple[Ending, str, str]:
    told = job.told
    if isinstance(told, Delay):
        return "delayed", "", ""
    if not isinstance(told, Answer):
        return "given back", "", ""
    ending: Ending = "replayed" if told.replayed else "answered"
    first = job.trace if told.replayed else ""
    match told.result:
        case {"Err": {"code": str(code)}}:
            return ending, code, first
        case _:
            return ending, "", first
