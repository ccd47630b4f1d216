"""
Three refunds: one by rule, one that a person approves, one that a person refuses.

``python -m examples.approval`` needs no server: worker, caller and person are in this process, and
the journal is in its memory.
"""

from __future__ import annotations

import asyncio
import sys

from effectmq import Client, EffectmqError, NotHandedOutError
from effectmq.protocol import (
    RuntimeEffectOutcomeToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
)
from examples.approval.worker import app, mails

ORDERS = {"A-1": 20, "A-2": 300, "A-3": 9_000}


async def caller(client: Client) -> None:
    """The turn of an agent, which waits for as long as a person takes."""
    turn = client.turn(session_id="shop", turn_id="today")
    for order, amount in ORDERS.items():
        args = {"order": order, "amount": amount}
        outcome = await turn.tool_call("refund", args, call_id=order, timeout=None)
        assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
        output = outcome.result.output.outcome
        if isinstance(output, ToolCallOutcomeFailure):
            print(f"{order} {output.status}: {output.payload.message}")
        elif isinstance(output, ToolCallOutcomeSuccess):
            print(f"{order} {output.status}: {output.payload}")


async def person(client: Client) -> None:
    """Reads the mails and decides; what is much is refused."""
    while True:
        await asyncio.sleep(0.05)
        while mails:
            question, token = mails[0]
            try:
                if "9000" in question:
                    await client.complete(token, error="not without a receipt")
                else:
                    await client.complete(token, {"approved": True, "by": "ann"})
            except NotHandedOutError:
                # The mail is out before the question is in the journal: a person is not so fast.
                break
            del mails[0]


async def main() -> None:
    """Run all three, until the caller has its answers."""
    async with app, Client(place=app.place) as client:
        answering = asyncio.create_task(person(client))
        await caller(client)
        answering.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except EffectmqError as problem:
        sys.exit(f"{problem}")
