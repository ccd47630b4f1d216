"""
The worker of ``effectmq demo``: four kinds of effects, small, but able to fail.

It records every attempt, because the demo must print what really happened.
"""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.errors import RejectEffectError, ToolCallError
from effectmq.protocol.topology import TopologySettings
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
)
from effectmq.protocol.wire.execution import ExecResponse
from effectmq.protocol.wire.llm_request import LlmContentBlockText
from effectmq.protocol.wire.llm_response import LlmOutputPartText, LlmResponse, LlmUsage
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
)

__all__ = ["RETRY_WAIT_MS", "Attempt", "calculate", "demo_worker"]

#: Longer than a second, so that the wait is in a queue and not in the worker.
RETRY_WAIT_MS = 1_100

_LOOKUP_S = 0.15
_SHOP = {"price": 12, "quantity": 7, "discount": 4}

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One attempt at one effect.

    Attributes:
        what: The tool or the kind.
        effect_id: The effect.
        number: The number of the attempt, from 1.
        at: When it began, on the monotonic clock, in seconds.
    """

    what: str
    effect_id: str
    number: int
    at: float


def demo_worker(
    broker: str, topology: TopologySettings, attempts: list[Attempt], journal: str | None = None
) -> EffectWorker:
    """
    Make the worker.

    Args:
        broker: The broker's address.
        topology: Namespace and delay levels.
        attempts: The list to which each attempt is added.
        journal: The journal for the outcomes.
    """
    worker = EffectWorker(broker, topology=topology, name="demo-worker", journal=journal)

    def begun(what: str, context: EffectContext) -> None:
        attempts.append(Attempt(what, context.effect_id, context.attempt, time.monotonic()))

    async def stock(product: str, context: EffectContext) -> dict[str, int | str]:
        """How many of a product are in stock."""
        begun("stock", context)
        await asyncio.sleep(_LOOKUP_S)
        return {"product": product, "left": len(product)}

    async def supplier_price(product: str, context: EffectContext) -> float:
        """The supplier's price; the supplier is busy at first."""
        begun("supplier_price", context)
        if context.attempt == 1:
            raise ToolCallError("the supplier is busy", code="supplier_busy", retry=True)
        return len(product) * 1.5

    async def answer(
        command: RuntimeEffectCommandLlmCall, context: EffectContext
    ) -> RuntimeEffectOutcomeLlmCall:
        begun("llm_call", context)
        blocks = [block for message in command.request.messages for block in message.blocks]
        asked = " ".join(block.text for block in blocks if isinstance(block, LlmContentBlockText))
        return RuntimeEffectOutcomeLlmCall(result=Ok(_reply_to(asked)), text_streamed=False)

    async def execute(
        command: RuntimeEffectCommandExecCode, context: EffectContext
    ) -> RuntimeEffectOutcomeExecCode:
        begun("exec_code", context)
        started = time.monotonic()
        value = calculate(command.code)
        response = ExecResponse(
            observations=[f"{value:g}"],
            observation_truncation=[],
            tool_calls=[],
            images=[],
            printed_images=[],
            duration_ms=round((time.monotonic() - started) * 1_000),
        )
        return RuntimeEffectOutcomeExecCode(result=Ok(response))

    retry = RetryPolicy(max_attempts=3, base_delay_s=RETRY_WAIT_MS / 1_000, max_delay_s=0)
    worker.tool(stock)
    worker.tool(retry=retry)(supplier_price)
    worker.handler("llm_call")(answer)
    worker.handler("exec_code")(execute)
    return worker


def calculate(code: str) -> float:
    """
    Calculate a formula over the numbers of the shop.

    Raises:
        RejectEffectError: When it is not a formula, or has an unknown name: another attempt at the
            same code is useless.
    """
    try:
        return _value(ast.parse(code, mode="eval").body)
    except SyntaxError as problem:
        raise RejectEffectError("bad_code", f"not a formula: {problem.msg}") from None
    except ZeroDivisionError:
        raise RejectEffectError("bad_code", "a division by zero") from None


def _value(node: ast.expr) -> float:
    match node:
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_value(left), _value(right))
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in _SHOP:
            return _SHOP[name]
        case ast.Name(id=name):
            near = get_close_matches(name, _SHOP, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise RejectEffectError("unknown_name", f"there is no {name!r} here{hint}")
        case _:
            raise RejectEffectError("bad_code", "only + - * / over numbers and names are allowed")


def _reply_to(asked: str) -> LlmResponse:
    words = asked.split()
    longest = max(words, key=len, default="")
    text = f"You asked about {longest.strip('?.!,')!r}. Let me look it up."
    return LlmResponse(
        full_text=text,
        parts=[LlmOutputPartText(text=text)],
        usage=LlmUsage(
            input_tokens=len(words),
            output_tokens=len(text.split()),
            cached_input_tokens=0,
            reasoning_tokens=0,
        ),
        terminal_reason="stop",
    )
