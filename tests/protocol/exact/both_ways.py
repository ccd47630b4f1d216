"""The two ways of reading and sealing an envelope, and what comes out of each."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from effectmq.protocol.messages import request
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["outcome", "read_both_ways", "seal_both_ways", "state"]


@contextmanager
def by_models() -> Generator[None]:
    """All envelopes go to the models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request, "read_envelope", lambda _: None)
        patch.setattr(request, "write_envelope", lambda _: None)
        yield


def state(value: Any) -> Any:
    """All that can be seen of a value: types, order of members, given fields."""
    if isinstance(value, BaseModel):
        given = sorted(value.model_fields_set)
        return type(value), given, state(value.__dict__), value.__getstate__().keys()
    if isinstance(value, Request):
        parts = [(one.name, state(getattr(value, one.name))) for one in fields(value)]
        return type(value), parts, value.canonical
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), [(one.name, state(getattr(value, one.name))) for one in fields(value)]
    if isinstance(value, dict):
        return type(value), [(name, state(member)) for name, member in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [state(item) for item in value]
    # By its text, because 0.0 is not -0.0, and 1 is not True.
    return type(value), repr(value)


def outcome(action: Callable[[], Any]) -> Any:
    """What an action returns, in all detail, or the error that it raises."""
    try:
        return state(action())
    except Exception as error:
        return type(error), str(error)


def read_both_ways(message: Message) -> tuple[Any, Any]:
    """What a worker reads: as it does, and by the models."""
    found = outcome(lambda: read_request(message))
    with by_models():
        return found, outcome(lambda: read_request(message))


def seal_both_ways(envelope: RuntimeEffectEnvelope, **options: Any) -> tuple[Any, Any]:
    """What a producer seals: as it does, and by the models."""
    found = outcome(lambda: Request.seal(envelope, **options))
    with by_models():
        return found, outcome(lambda: Request.seal(envelope, **options))
