"""
The port to a library of traces: what a client and a worker tell it of each effect.

Without one nothing is called. With one, a client tells it of a publish, a worker of a delivery and
of each attempt inside of it; the trace context travels in the headers ``traceparent`` and
``tracestate``.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol, TypeVar

from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["Attempted", "Delivered", "Ending", "Tracing", "harmless", "open_span"]

logger = logging.getLogger("effectmq.traces")

T = TypeVar("T")

#: How a delivery ended here: with an answer (``replayed``: one that was recorded before), with a
#: delayed copy, or given back to the broker.
Ending = Literal["answered", "replayed", "delayed", "given back"]


class Delivered(Protocol):
    """A delivery whose span is open."""

    def ended(self, request: Request | None, how: Ending, code: str = "", first: str = "") -> None:
        """
        Say how it ended.

        Args:
            request: The effect, when it could be read.
            how: Whether it was answered.
            code: The code of the controller error, if that is the answer.
            first: The ``traceparent`` of the attempt whose outcome was recorded before.
        """
        ...


class Attempted(Protocol):
    """
    An attempt whose span is open.

    Attributes:
        traceparent: Its trace context, for what it asks for; empty when it has none.
        tracestate: What belongs to that, or empty.
    """

    traceparent: str
    tracestate: str

    def ended(self, outcome: RuntimeEffectOutcome | None, problem: str = "") -> None:
        """Say how it ended: with an outcome, or with a problem and another attempt."""
        ...


class Tracing(Protocol):
    """A library of traces."""

    def submitting(
        self, request: Request, exchange: str, route: str
    ) -> AbstractContextManager[Request]:
        """
        Open the span of a publish; gives the request with its trace context in the headers.

        Args:
            request: The effect.
            exchange: Where it is published.
            route: The routing key.
        """
        ...

    def delivering(
        self, message: Message, exchange: str, route: str, queue: str
    ) -> AbstractContextManager[Delivered]:
        """
        Open the span of a delivery.

        Args:
            message: What arrived.
            exchange: Where it was published.
            route: Its routing key.
            queue: The queue that it came from.
        """
        ...

    def attempting(self, request: Request, last: str) -> AbstractContextManager[Attempted]:
        """
        Open the span of an attempt.

        Args:
            request: The effect.
            last: The ``traceparent`` of the attempt before, or empty.
        """
        ...


@contextmanager
def open_span(span: AbstractContextManager[T]) -> Generator[T | None]:
    """
    Open a span that does no harm: what the library or a processor of the program raises is logged.

    It gives the span, or ``None`` when it could not be opened. What the body raises is raised.
    """
    opened: T | None = None
    with harmless():
        opened = span.__enter__()
    if opened is None:
        yield None
        return
    try:
        yield opened
    except BaseException as problem:
        with harmless(besides=problem):
            span.__exit__(type(problem), problem, problem.__traceback__)
        raise
    with harmless():
        span.__exit__(None, None, None)


@contextmanager
def harmless(besides: BaseException | None = None) -> Generator[None]:
    """Log what is raised inside: no effect fails because it cannot be traced."""
    try:
        yield
    except Exception as problem:
        if problem is not besides:
            logger.warning(
                "a span could not be made: %s; the effect goes on without it",
                describe(problem),
                extra={"action": "span_failed"},
            )
