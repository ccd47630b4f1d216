"""
How many Python calls the outcome of a tool call costs, from the tool's value to the caller's model.

Counted and not timed, as in ``test_call_counts``. By way of the models, twenty rows of a table cost
1,711 calls to make, 249 to write and 338 to read. Lower a ceiling when a road becomes shorter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.pipeline.answers import Ready, ready_answer
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.handler import ToolHandler
from effectmq.protocol.encoding.codec import JSON, MSGPACK
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import OUTCOME_TYPE, join_replies, read_replies
from effectmq.protocol.messages.request import Request
from tests.consumers.stage import tool

_LIMITS = Limits()

#: By the value of the tool: Python calls to make an outcome of it, to write it with its record, and
#: to read it.
_CEILINGS: list[tuple[Any, int, int, int]] = [
    (7, 23, 12, 35),
    ("x" * 1_000, 23, 12, 35),
    ({"rows": [{"id": number, "ok": True} for number in range(20)]}, 45, 12, 75),
]


def calls(work: Callable[[], object]) -> int:
    """The calls of functions of this package, once everything is warm."""
    found = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal found
        found += event == "call" and "effectmq/" in frame.f_code.co_filename

    work()
    former = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(former)
    return found


def finished(body: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as ended:
        body.send(None)
    return ended.value.value


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(("value", "made", "written", "read"), _CEILINGS, ids=["7", "text", "rows"])
def test_the_outcome_of_a_tool_call_makes_few_calls(
    value: Any, made: int, written: int, read: int, content_type: str
) -> None:
    """For a number, a text, and rows of a table."""

    async def answer(text: str) -> object:
        return value

    handler = ToolHandler()
    handler.add(tool_from(answer))
    request = Request.seal(tool("answer", text="x" * 1_000), content_type=content_type)
    context = EffectContext(request.envelope, request.effect_id, 1, 0, "")
    outcome = finished(handler.run(request, context))

    def write() -> Ready:
        ready = ready_answer(request, request.message, outcome, _LIMITS, recorded=True)
        assert isinstance(ready, Ready)
        return ready

    body = join_replies([write().encoded], content_type)
    message = Message(body=body, content_type=content_type, type=OUTCOME_TYPE)
    counted = (
        calls(lambda: finished(handler.run(request, context))),
        calls(write),
        calls(lambda: read_replies(message, _LIMITS)),
    )
    for found, most in zip(counted, (made, written, read), strict=True):
        assert 5 < found <= most
