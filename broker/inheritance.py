"""
What an effect passes on to the effects that are asked for while it is carried out.

The code that carries an effect out announces it here. A client that is used meanwhile, in the same
task or in tasks and threads that it started, finds it. A child gets the parent's deadline, or its
own when that is earlier, the parent's trace context, unless it has its own, and the parent's
tenant, version and priority, unless it is asked for with others.

A process outlives the effect that started it, so it gets all of this but the deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

from effectmq.protocol.errors import ParentExpiredError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.chosen.priority import Priority
from effectmq.protocol.messages.request import Request

__all__ = ["Inheritance", "carry_out_here", "carrying_out", "detached", "inherited"]


@dataclass(frozen=True, slots=True)
class Inheritance:
    """
    The data that child effects get.

    Attributes:
        deadline_ms: The deadline of their outcomes, Unix milliseconds; 0 for none.
        traceparent: W3C trace context, or empty.
        tracestate: W3C trace state, or empty.
        tenant: For whom it is done, or empty.
        version: The version of workers that it is bound to, or empty.
        priority: Its priority; empty outside of any effect.
    """

    deadline_ms: int = 0
    traceparent: str = ""
    tracestate: str = ""
    tenant: str = ""
    version: str = ""
    priority: Priority | Literal[""] = ""

    @classmethod
    def of(cls, request: Request) -> Inheritance:
        """The inheritance of the children of an effect."""
        headers = request.message.headers
        return cls(
            request.deadline_ms,
            str(headers.get(names.TRACEPARENT, "")),
            str(headers.get(names.TRACESTATE, "")),
            request.tenant,
            request.version,
            request.priority,
        )

    def earlier(self, deadline_ms: int) -> int:
        """The earlier of the child's own deadline and the parent's; 0 for none."""
        if not self.deadline_ms or not deadline_ms:
            return self.deadline_ms or deadline_ms
        return min(self.deadline_ms, deadline_ms)

    def trace(self, traceparent: str, tracestate: str) -> tuple[str, str]:
        """The child's own trace context, if it has one, else the parent's."""
        return (traceparent, tracestate) if traceparent else (self.traceparent, self.tracestate)

    def check(self, effect_id: str, now_ms: int) -> None:
        """
        Refuse an effect whose parent has passed its deadline.

        Raises:
            ParentExpiredError: When the deadline has passed.
        """
        if self.deadline_ms and now_ms >= self.deadline_ms:
            raise ParentExpiredError(effect_id, now_ms - self.deadline_ms)


_NOTHING = Inheritance()
_PARENT: ContextVar[Inheritance] = ContextVar("effectmq_inheritance", default=_NOTHING)


def inherited() -> Inheritance:
    """The inheritance of an effect that is asked for here."""
    return _PARENT.get()


def carry_out_here(parent: Inheritance) -> None:
    """Pass this inheritance to effects that are asked for from here to the end of this task."""
    _PARENT.set(parent)


@contextmanager
def carrying_out(parent: Inheritance) -> Generator[None]:
    """Pass this inheritance to effects that are asked for inside."""
    token = _PARENT.set(parent)
    try:
        yield
    finally:
        _PARENT.reset(token)


@contextmanager
def detached() -> Generator[None]:
    """Let effects that are asked for inside outlive their parent: they get no deadline."""
    parent = _PARENT.get()
    with carrying_out(replace(parent, deadline_ms=0)):
        yield
