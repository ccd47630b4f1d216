"""A worker of one's own for all eight kinds, as docker-compose.override.yml runs it."""

from __future__ import annotations

import httpx

from effectmq import Worker
from effectmq.boundary import whole_boundary
from effectmq.consumers.code.settings import CodeSettings

app = Worker()


@app.tool(time_limit_s=20)
async def title(url: str) -> str:
    """The title of a page."""
    async with httpx.AsyncClient(timeout=10) as client:
        page = (await client.get(url, follow_redirects=True)).raise_for_status().text
    return page.partition("<title>")[2].partition("</title>")[0].strip()


# The key is the container's OPENAI_API_KEY; without it the worker says so and ends.
boundary = whole_boundary(
    app,
    models={"fast": {"provider": "openai", "model": "gpt-5-mini"}},
    code=CodeSettings(time_limit_s=5),
)
