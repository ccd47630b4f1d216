"""
How many Python calls the envelope of a tool call costs, counted and not timed.

A count is the same on every machine. Lower a ceiling when a change makes the road shorter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from effectmq.broker.client.turns.tool_calls.batch import ToolCall
from effectmq.broker.client.turns.turn import Turn
from effectmq.protocol.encoding.codec import JSON, MSGPACK
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

CALL = ToolCall("echo", {"text": "x" * 900, "number": 1, "items": ["a", "b"]}, "call-1")


async def nothing(envelope: RuntimeEffectEnvelope, **options: Any) -> Any:
    """Carries nothing out."""
    raise NotImplementedError


TURN = Turn(nothing, "session", "turn", 1, 2)
(ENVELOPE,) = TURN.tool_envelopes([CALL])


def calls_of(action: Callable[[], object]) -> int:
    """The calls of Python functions in the package, once it is warm."""
    action()
    calls = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call" and "effectmq/" in frame.f_code.co_filename

    former = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(former)
    return calls


def test_a_turn_makes_an_envelope_in_few_calls() -> None:
    """One call of a tool, with its number."""
    assert 10 < calls_of(lambda: TURN.tool_envelopes([CALL])) <= 52


@pytest.mark.parametrize(("content_type", "ceiling"), [(MSGPACK, 35), (JSON, 34)])
def test_an_envelope_is_sealed_in_few_calls(content_type: str, ceiling: int) -> None:
    """From the models to the message."""
    calls = calls_of(lambda: Request.seal(ENVELOPE, reply_to="r", content_type=content_type))
    assert 10 < calls <= ceiling


@pytest.mark.parametrize(("content_type", "ceiling"), [(MSGPACK, 60), (JSON, 77)])
def test_a_request_is_read_in_few_calls(content_type: str, ceiling: int) -> None:
    """From the message to the models."""
    message = Request.seal(ENVELOPE, reply_to="r", content_type=content_type).message
    assert 10 < calls_of(lambda: read_request(message)) <= ceiling
