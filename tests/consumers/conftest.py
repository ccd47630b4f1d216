"""A stage for every test of the consumers that wants one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.consumers.stage import PATIENCE_S, Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker that nobody else uses; its end is bounded, because hanging is what we test for."""
    async with AsyncExitStack() as stack:
        yield Stage(stack)
        async with asyncio.timeout(PATIENCE_S):
            await stack.aclose()
