"""
A worker for all eight effect kinds, small enough to read in one go.

::

    effectmq run examples/envelopes.jsonl --worker examples.worker:app
    effectmq worker examples.worker:app --broker amqp://localhost

The model is a script, so that this runs offline; a real one is another row of the table. Needs
``effectmq[code]``, for the interpreter.
"""

from __future__ import annotations

import asyncio

from effectmq import (
    CodeSettings,
    RetryPolicy,
    ToolCallError,
    ToolContext,
    Worker,
    WorkerSettings,
    whole_boundary,
)

# A tool that this worker lacks could be one of a newer worker, which is waited for half a minute;
# here all workers are the same, so a misspelt name is told soon.
app = Worker(settings=WorkerSettings(elsewhere_s=1.0))


# Tools: typed functions. Arguments are validated before a function sees them. -------------------


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool(
    retry=RetryPolicy(max_attempts=3, base_delay_s=0.2, max_delay_s=2, only_with_call_id=True),
    time_limit_s=5,
)
async def echo(value: str, count: int = 1) -> dict[str, str]:
    """Give the value back, taking its time: 50 ms for each count."""
    await asyncio.sleep(0.05 * count)
    return {"echo": value}


@app.tool(retry=RetryPolicy(max_attempts=4, base_delay_s=0.1, max_delay_s=1))
async def fetch(path: str, context: ToolContext) -> dict[str, str | int]:
    """Pretend to fetch a page from a server that is down twice, and up the third time."""
    if context.attempt < 3:
        raise ToolCallError(
            "the server answered 503 Service Unavailable",
            code="http_503",
            class_="external",
            retry=True,
        )
    # The host hears of it with the outcome.
    context.emit("Page", "web.page", "fetched", {"path": path})
    return {"path": path, "status": 200, "attempts": context.attempt}


# The other kinds come with effectmq. Every envelope here names the model "m". ---------------------

boundary = whole_boundary(
    app,
    models={"m": {"provider": "scripted", "script": [{"reply": "You said: $text"}]}},
    prompt="You can use tools.",
    code=CodeSettings(time_limit_s=5),
)
