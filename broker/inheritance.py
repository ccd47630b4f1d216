"""
What an effect hands down to the effects that are asked for while it is carried out.

Whoever carries an effect out says so here, and a client that is used meanwhile, in the same task or
in what it started (tasks, threads), finds it: a child gets the parent's deadline, or its own when
that is earlier, and the parent's trace context, unless it is given one.

A process is no part of the effect that started it: it outlives it, and so gets the trace context
and no deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from effectmq.protocol.errors import ParentExpiredError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.request import Request

__all__ = ["Inheritance", "carrying_out", "detached", "inherited"]


@dataclass(frozen=True, slots=True)
class Inheritance:
    """
    What children get.

    Attributes:
        deadline_ms: When nobody wants their outcomes any more, Unix milliseconds; 0 for never.
        traceparent: W3C trace context, or empty.
        tracestate: What belongs to it, or empty.
    """

    deadline_ms: int = 0
    traceparent: str = ""
    tracestate: str = ""

    @classmethod
    def of(cls, request: Request) -> Inheritance:
        """What the children of an effect get."""
        headers = request.message.headers
        return cls(
            request.deadline_ms,
            str(headers.get(names.TRACEPARENT, "")),
            str(headers.get(names.TRACESTATE, "")),
        )

    def earlier(self, deadline_ms: int) -> int:
        """A deadline of the child's own, 0 for none, or the parent's when that is earlier."""
        if not self.deadline_ms or not deadline_ms:
            return self.deadline_ms or deadline_ms
        return min(self.deadline_ms, deadline_ms)

    def trace(self, traceparent: str, tracestate: str) -> tuple[str, str]:
        """The child's own trace context, whole, or the parent's."""
        return (traceparent, tracestate) if traceparent else (self.traceparent, self.tracestate)

    def check(self, effect_id: str, now_ms: int) -> None:
        """
        Refuse to begin something on behalf of an effect that nobody waits for.

        Raises:
            ParentExpiredError: When the deadline has passed.
        """
        if self.deadline_ms and now_ms >= self.deadline_ms:
            raise ParentExpiredError(effect_id, now_ms - self.deadline_ms)


_NOTHING = Inheritance()
_PARENT: ContextVar[Inheritance] = ContextVar("effectmq_inheritance", default=_NOTHING)


def inherited() -> Inheritance:
    """What a child would get that is asked for here."""
    return _PARENT.get()


@contextmanager
def carrying_out(parent: Inheritance) -> Generator[None]:
    """What is asked for inside is asked for by a child of this."""
    token = _PARENT.set(parent)
    try:
        yield
    finally:
        _PARENT.reset(token)


@contextmanager
def detached() -> Generator[None]:
    """What is asked for inside outlives the effect that is carried out: the trace, no deadline."""
    parent = _PARENT.get()
    with carrying_out(Inheritance(0, parent.traceparent, parent.tracestate)):
        yield
