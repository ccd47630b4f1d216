"""
A small world for ``effectmq dashboard --demo``: a shop with two workers and agents that ask for
things, some of which fail, so that every page has something to show. It needs no server.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.turn import Turn
from effectmq.broker.place import Place
from effectmq.cli.demo.worker import calculate
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.errors import (
    EffectmqError,
    RejectEffectError,
    RetryEffectError,
    ToolCallError,
)
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
)
from effectmq.protocol.wire.execution import ExecResponse
from effectmq.protocol.wire.llm_request import LlmContentBlockText, LlmMessage, LlmRequestSpec
from effectmq.protocol.wire.llm_response import LlmOutputPartText, LlmResponse, LlmUsage
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
)

__all__ = ["world"]

_WORKERS = ("shop-north", "shop-south")
_AGENTS = 6
#: A session begins so often for each agent, at most, in seconds.
_PAUSE_S = 4.0
_PATIENCE_S = 20.0
_PRODUCTS = ("apples", "pears", "quinces", "plums", "medlars")
_RETIRED = "first-model"
_MODELS = ("small-model", "large-model", _RETIRED)
_SHARES = (60, 35, 5)
_HEAVY = "price * quantity * quantity"
_BLOCKS = (
    "price * quantity - discount",
    "price * quantiy - discount",
    "discount / (price - price)",
    _HEAVY,
)
_BLOCK_SHARES = (84, 6, 5, 5)
_TWICE = RetryPolicy(max_attempts=2, base_delay_s=1.0, max_delay_s=1.0)
_BUSY = RetryPolicy(max_attempts=4, base_delay_s=1.0, max_delay_s=2.0)


@asynccontextmanager
async def world(place: Place, seed: int | None = None) -> AsyncGenerator[None]:
    """
    Keep a shop and its customers going.

    Args:
        place: A broker in this process, and a journal that all share.
        seed: Makes chance come out the same; another world each time without one.
    """
    chance = random.Random(seed)
    workers = [_shop(place, name, chance) for name in _WORKERS]
    client = EffectClient(place=place, identity="demo-agents")
    async with workers[0], workers[1], client:
        agents = [
            asyncio.create_task(_agent(client, number, chance), name=f"effectmq demo {number}")
            for number in range(_AGENTS)
        ]
        try:
            yield
        finally:
            for agent in agents:
                agent.cancel()
            await asyncio.gather(*agents, return_exceptions=True)


# The shop ------------------------------------------------------------------------------------


def _shop(place: Place, name: str, chance: random.Random) -> EffectWorker:
    worker = EffectWorker(place=place, name=name, concurrency=4)

    async def stock(product: str) -> dict[str, int | str]:
        """How many of a product are in stock."""
        await asyncio.sleep(chance.uniform(0.02, 0.3))
        return {"product": product, "left": chance.randrange(400)}

    async def supplier_price(product: str, context: EffectContext) -> float:
        """The supplier's price; the supplier is often busy."""
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        if context.attempt < 3 and chance.random() < 0.4:
            raise ToolCallError("the supplier is busy", code="supplier_busy", retry=True)
        return len(product) * 1.5

    async def charge_card(cents: int) -> str:
        """Charge a card."""
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        if chance.random() < 0.15:
            raise ToolCallError("the card was declined", code="card_declined")
        return f"{cents} cents charged"

    async def refund(order: str) -> str:
        """Give money back, for orders that exist."""
        if not order.startswith("order-"):
            raise RejectEffectError("no_such_order", f"there is no order {order!r}")
        return f"{order} refunded"

    worker.tool(stock)
    worker.tool(retry=_BUSY)(supplier_price)
    worker.tool(charge_card)
    worker.tool(refund)
    worker.handler("llm_call")(_model(chance))
    worker.handler("exec_code", retry=_TWICE)(_code)
    return worker


def _model(
    chance: random.Random,
) -> Callable[[RuntimeEffectCommandLlmCall, EffectContext], object]:
    async def answer(
        command: RuntimeEffectCommandLlmCall, context: EffectContext
    ) -> RuntimeEffectOutcomeLlmCall:
        took_s = chance.uniform(0.2, 1.8)
        if command.request.model == _RETIRED:
            raise RejectEffectError("no_such_model", f"the model {_RETIRED!r} is retired")
        blocks = [block for message in command.request.messages for block in message.blocks]
        asked = " ".join(block.text for block in blocks if isinstance(block, LlmContentBlockText))
        text = f"Let me see about {asked.rsplit(maxsplit=1)[-1].strip('?.')}, and tell you."
        words = text.split(" ")
        for word in words:
            context.stream(f"{word} ")
            await asyncio.sleep(took_s / len(words))
        usage = LlmUsage(
            input_tokens=chance.randrange(200, 4_000),
            output_tokens=chance.randrange(20, 600),
            cached_input_tokens=chance.randrange(0, 200),
            reasoning_tokens=0,
        )
        response = LlmResponse(
            full_text=text,
            parts=[LlmOutputPartText(text=text)],
            usage=usage,
            terminal_reason="stop",
        )
        return RuntimeEffectOutcomeLlmCall(result=Ok(response), text_streamed=True)

    return answer


async def _code(
    command: RuntimeEffectCommandExecCode, context: EffectContext
) -> RuntimeEffectOutcomeExecCode:
    if command.code == _HEAVY:
        raise RetryEffectError("the sandbox has no memory left")
    return _calculated(command.code)


def _calculated(code: str) -> RuntimeEffectOutcomeExecCode:
    response = ExecResponse(
        observations=[f"{calculate(code):g}"],
        observation_truncation=[],
        tool_calls=[],
        images=[],
        printed_images=[],
        duration_ms=1,
    )
    return RuntimeEffectOutcomeExecCode(result=Ok(response))


# Its customers -------------------------------------------------------------------------------


async def _agent(client: EffectClient, number: int, chance: random.Random) -> None:
    for session in range(1, 1_000_000):
        for index in range(chance.randint(1, 3)):
            turn = client.turn(f"agent-{number}-talk-{session}", f"turn-{index + 1}", index)
            # What fails is what the dashboard is for.
            with suppress(EffectmqError):
                await _turn(turn, chance)
        await asyncio.sleep(chance.uniform(0.2, _PAUSE_S))


async def _turn(turn: Turn, chance: random.Random) -> None:
    product = chance.choice(_PRODUCTS)
    await turn.llm_call(_question(f"Are there enough {product}?", chance), timeout=_PATIENCE_S)
    await asyncio.gather(
        turn.tool_call("stock", {"product": product}, call_id="call-1", timeout=_PATIENCE_S),
        turn.tool_call(
            "supplier_price", {"product": product}, call_id="call-2", timeout=_PATIENCE_S
        ),
    )
    with suppress(EffectmqError):
        await turn.exec_code(chance.choices(_BLOCKS, _BLOCK_SHARES)[0], timeout=_PATIENCE_S)
    await turn.tool_call(
        "charge_card",
        {"cents": chance.randrange(100, 9_000)},
        call_id="call-3",
        timeout=_PATIENCE_S,
    )
    if chance.random() < 0.2:
        order = chance.choice(("order-17", "order-21", "oder-17", "21"))
        with suppress(EffectmqError):
            await turn.tool_call("refund", {"order": order}, call_id="call-4", timeout=_PATIENCE_S)
    await turn.llm_call(_question(f"Say something about {product}", chance), timeout=_PATIENCE_S)


def _question(text: str, chance: random.Random) -> LlmRequestSpec:
    block = LlmContentBlockText(text=text, cache_breakpoint=False)
    return LlmRequestSpec(
        model=chance.choices(_MODELS, _SHARES)[0],
        messages=[LlmMessage(role="User", blocks=[block])],
        attachments=[],
        tools=[],
        tool_choice="None",
    )
