"""Spans of OpenTelemetry; only its API is used, so that the program chooses the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from effectmq.broker.inheritance import inherited
from effectmq.broker.tracing import Attempted, Delivered, Ending
from effectmq.broker.version import version
from effectmq.monitoring.traces.attributes import (
    Attributes,
    attempt_name,
    of_attempt,
    of_message,
    of_outcome,
    of_request,
)
from effectmq.protocol.errors import MissingExtraError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise MissingExtraError("traces", "otel") from missing

__all__ = ["Traces"]

_W3C = TraceContextTextMapPropagator()


class Traces:
    """
    Makes spans of what a client or a worker does: ``app.tracing = Traces(…)`` before it starts.

    The setting ``traces`` does that with the program's global provider.

    Args:
        tracer_provider: Of the SDK; the global one by default.
        payloads: Whether arguments, prompts and results stand in the spans, and the texts of
            errors.
        system: The name of the broker.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        payloads: bool = False,
        system: str = "rabbitmq",
    ) -> None:
        self._tracer = trace.get_tracer("effectmq", version(), tracer_provider)
        self._payloads = payloads
        self._system = system

    @contextmanager
    def submitting(self, request: Request, exchange: str, route: str) -> Generator[Request]:
        """Open the span of a publish; gives the request with its trace context in the headers."""
        destination = f"{exchange}:{route}"
        with self._span(
            f"publish {destination}",
            SpanKind.PRODUCER,
            of_message(request.message, self._system, destination, route)
            | of_request(request)
            | {"messaging.operation.type": "send", "messaging.operation.name": "publish"},
            _parent_of(request),
        ) as span:
            yield _with_context(request, span)

    @contextmanager
    def delivering(
        self, message: Message, exchange: str, route: str, queue: str
    ) -> Generator[Delivered]:
        """Open the span of a delivery, a child of the publish."""
        destination = f"{exchange}:{route}:{queue}"
        with self._span(
            f"consume {destination}",
            SpanKind.CONSUMER,
            of_message(message, self._system, destination, route)
            | {"messaging.operation.type": "process", "messaging.operation.name": "consume"},
            _context_in(message),
        ) as span:
            yield _Delivery(span)

    @contextmanager
    def attempting(self, request: Request, last: str) -> Generator[Attempted]:
        """Open the span of an attempt, linked with the attempt before."""
        with self._span(
            attempt_name(request),
            SpanKind.INTERNAL,
            of_attempt(request, payloads=self._payloads),
            None,
            _links(last),
        ) as span:
            yield _Attempt(span, payloads=self._payloads)

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        parent: Context | None,
        links: list[Link] | None = None,
    ) -> Generator[Span]:
        # The SDK would write the text of an exception and its traceback into the span.
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            attributes,
            links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except asyncio.CancelledError:
                _fail(span, "cancelled", "")
                raise
            except BaseException as problem:
                text = describe(problem) if self._payloads else ""
                _fail(span, type(problem).__qualname__, text)
                raise


class _Delivery:
    """The span of a delivery."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, request: Request | None, how: Ending, code: str = "", first: str = "") -> None:
        """Name the effect, which is known by now, and say how it ended."""
        self._span.set_attribute("effectmq.ending", how)
        if request is not None:
            self._span.set_attributes(of_request(request))
        if code:
            _fail(self._span, code, "")
        for link in _links(first):
            self._span.add_link(link.context, link.attributes)


class _Attempt:
    """
    The span of an attempt.

    Attributes:
        traceparent: Its trace context.
        tracestate: What belongs to that, or empty.
    """

    def __init__(self, span: Span, *, payloads: bool) -> None:
        self._span = span
        self._payloads = payloads
        self.traceparent, self.tracestate = _headers_of(span)

    def ended(self, outcome: RuntimeEffectOutcome | None, problem: str = "") -> None:
        """Say how it ended."""
        if outcome is None:
            _fail(self._span, "retry", printable(problem) if self._payloads else "")
            return
        self._span.set_attributes(of_outcome(outcome, payloads=self._payloads))
        failure = outcome.failure
        if failure is not None:
            text = printable(failure.message) if self._payloads else ""
            _fail(self._span, printable(failure.code, 200), text)


def _fail(span: Span, type_: str, text: str) -> None:
    span.set_attribute("error.type", type_)
    span.set_status(Status(StatusCode.ERROR, text or None))


def _parent_of(request: Request) -> Context | None:
    """
    What a publish belongs to: the context that its caller gave, else the span that is open here,
    else what the effect that is carried out here has passed on.
    """
    given = request.message.headers.get(names.TRACEPARENT, "")
    passed_on = given == inherited().traceparent
    if trace.get_current_span().get_span_context().is_valid and (passed_on or not given):
        return None
    return _context_in(request.message)


def _context_in(message: Message) -> Context:
    headers = message.headers
    carrier = {
        name: str(headers[name])
        for name in (names.TRACEPARENT, names.TRACESTATE)
        if name in headers
    }
    return _W3C.extract(carrier, Context())


def _with_context(request: Request, span: Span) -> Request:
    parent, state = _headers_of(span)
    if not parent:
        return request
    headers = {**request.message.headers, names.TRACEPARENT: parent}
    headers.pop(names.TRACESTATE, None)
    if state:
        headers[names.TRACESTATE] = state
    return replace(request, message=replace(request.message, headers=headers))


def _headers_of(span: Span) -> tuple[str, str]:
    """
    The ``traceparent`` and ``tracestate`` of a span; its propagator would take longer.

    Empty for a span without a context, which a program without an SDK gets.
    """
    own = span.get_span_context()
    if not own.is_valid:
        return "", ""
    parent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
    return parent, own.trace_state.to_header() if own.trace_state else ""


def _links(traceparent: str) -> list[Link]:
    if not traceparent:
        return []
    context = trace.get_current_span(
        _W3C.extract({names.TRACEPARENT: traceparent}, Context())
    ).get_span_context()
    return [Link(context)] if context.is_valid else []
