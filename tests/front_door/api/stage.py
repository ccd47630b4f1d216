"""An API over a broker and a journal in memory, and who asks it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from effectmq import Client, Worker
from effectmq.api.access.tokens import NO_TOKENS, Tokens
from effectmq.api.app import create_app
from effectmq.broker.place import Place

HERE = "http://localhost:9480"


@dataclass(frozen=True)
class Stage:
    """A place with an API."""

    place: Place
    http: httpx.AsyncClient

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.http.get(f"/api/v1{path}", params=parameters or None)

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.http.post(f"/api/v1{path}", json=body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.http.delete(f"/api/v1{path}")


@asynccontextmanager
async def staged(
    tokens: Tokens = NO_TOKENS,
    *,
    place: Place | None = None,
    base_url: str = HERE,
    hosts: Collection[str] | None = ("localhost", "127.0.0.1", "::1"),
) -> AsyncGenerator[Stage]:
    """An API that is open."""
    if place is None:
        address = f"memory://{secrets.token_hex(4)}"
        place = Place.of({"broker": address, "journal": address})
    app = create_app(place, tokens, hosts=hosts)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=base_url) as http,
    ):
        yield Stage(place, http)


def worker_of(place: Place) -> Worker:
    """A worker with a few tools: one that adds, one that fails, one that is never retried."""
    worker = Worker(place=place)

    @worker.tool
    async def add(a: int, b: int) -> int:
        return a + b

    @worker.tool
    async def bad(what: str) -> str:
        raise ValueError(f"no such thing: {what}")

    return worker


async def some_effects(place: Place, count: int = 2) -> None:
    """Calls of both tools, in a session each."""
    async with worker_of(place), Client(place=place) as client:
        for number in range(count):
            turn = client.turn(session_id=f"s-{number}", turn_id=f"t-{number}")
            await turn.tool_call("add", {"a": number, "b": 1}, call_id="sum")
            await turn.tool_call("bad", {"what": "<script>"}, call_id="fault")
