"""
What the agent can do: a worker for all eight effect kinds.

::

    effectmq worker examples.agent.worker:app                    # all kinds in one process
    effectmq worker examples.agent.worker:app --kind exec_code   # or one process for each

The model is a script, so that the example runs offline and says the same every time. For a real one
put another row into ``MODELS``; nothing else changes.
"""

from __future__ import annotations

import asyncio
import os

from effectmq import (
    CodeSettings,
    ProcessRunnerSettings,
    RunningProcess,
    Worker,
    WorkerSettings,
    whole_boundary,
)
from effectmq.protocol import (
    PreparedToolCall,
    ProcessAwaitOutput,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
    ToolCallOutcomeSuccess,
)

MODELS = {
    # "agent": {"provider": "openai", "model": "gpt-5-mini"},  # and OPENAI_API_KEY
    "agent": {
        "provider": "scripted",
        "script": [
            {"when": r"^Title: .*?(?P<what>\d+ \w+)", "reply": "An order of $what"},
            {
                "when": r"Wake input:\n(?P<news>.+)",
                "reply": "They are on their way; I shall look again in a moment.",
                "calls": [{"tool": "remind_me", "arguments": {"after_ms": 250, "about": "$news"}}],
            },
            {"after": "remind_me", "when": ".+", "reply": "Done: $text."},
            {
                "after": "start_process",
                "when": "(?P<id>.+)",
                "reply": "The delivery is being prepared.",
                "calls": [{"tool": "wait_for_process", "arguments": {"process_id": "$id"}}],
            },
            {
                "after": "run_code",
                "when": r"(?P<order>\d+ \w+ for \d+ cents)",
                "reply": "That is a fair price.",
                "calls": [
                    {
                        "tool": "start_process",
                        "arguments": {"name": "deliver", "args": {"order": "$order"}},
                    }
                ],
            },
            {
                "after": "stock",
                "when": r'"product":"(?P<product>\w+)","wanted":(?P<wanted>\d+)',
                "reply": "There are enough. What do they cost together?",
                "calls": [
                    {
                        "tool": "run_code",
                        "arguments": {
                            "code": 'each = price("$product")["cents"]\n'
                            'print(f"$wanted $product for {$wanted * each} cents")'
                        },
                    }
                ],
            },
            {
                "when": r"(?i)order (?P<wanted>\d+) (?P<product>\w+)",
                "reply": "Let me see what there is.",
                "calls": [
                    {"tool": "stock", "arguments": {"product": "$product", "wanted": "$wanted"}},
                    {"tool": "supplier", "arguments": {"product": "$product"}},
                ],
            },
        ],
    },
}

#: After a kill the work goes on within seconds. A fleet in earnest keeps the longer defaults.
app = Worker(settings=WorkerSettings(lease_s=3.0))


# Tools: for the model, for code, for processes. -------------------------------------------------


@app.tool
def stock(product: str, wanted: int) -> dict[str, object]:
    """Say whether there is enough of a product."""
    _ran("stock")
    return {"enough": wanted <= 400, "product": product, "wanted": wanted}


@app.tool
def supplier(product: str) -> dict[str, object]:
    """Say who delivers a product."""
    _ran("supplier")
    return {"product": product, "name": "Orchard & Daughters"}


@app.tool
def price(product: str) -> dict[str, object]:
    """Say what one piece costs."""
    _ran("price")
    return {"product": product, "cents": 25}


@app.tool
async def ship(order: str) -> str:
    """Pack an order and hand it to the carrier, which takes a moment."""
    _ran("ship")
    await asyncio.sleep(0.3)
    return f"{order}, with the carrier"


def _ran(tool: str) -> None:
    """Write down that a body ran, where somebody wants to count."""
    if ledger := os.environ.get("AGENT_LEDGER"):
        with open(ledger, "a") as lines:
            lines.write(f"{tool}\n")


# A background process: runs beside the turn, and wakes the session when there is news. ----------


async def deliver(process: RunningProcess, order: str) -> ProcessAwaitOutput:
    """Ship an order; the tool is an effect, so a process that starts again ships nothing twice."""
    call = PreparedToolCall(call_id="ship", tool_name="ship", args={"order": order})
    outcome = (await boundary.run_tool(call, process)).outcome
    if not isinstance(outcome, ToolCallOutcomeSuccess):
        return ProcessAwaitOutputFailure(
            class_="execution", code="not_shipped", message=f"{order}: {outcome.status}"
        )
    await process.emit("process.wake", {"text": outcome.payload})
    return ProcessAwaitOutputSuccess(value=outcome.payload)


PROGRAMS = {"deliver": deliver}


async def run_program(process: RunningProcess) -> ProcessAwaitOutput:
    """Run a process by the name of its program."""
    input_ = process.record.input
    assert input_.type == "lashlang_process"
    return await PROGRAMS[input_.process_name](process, **input_.args)


boundary = whole_boundary(
    app,
    models=MODELS,
    prompt="You order what people want. Look before you order, and say when it is on its way.",
    code=CodeSettings(time_limit_s=5),
    lashlang_process=run_program,
    processes=ProcessRunnerSettings(lease_s=4.0, renew_s=1.0, sweep_s=0.1),
)
