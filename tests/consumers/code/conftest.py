"""Both databases, and an engine that is shared where nothing kills its processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from effectmq.broker.store.database.port import Database
from effectmq.consumers.code.monty.engine import MontyEngine
from effectmq.consumers.code.settings import CodeSettings
from tests.consumers.code.databases import empty_database
from tests.consumers.code.processes import remember_others

#: Small, so that every limit is reached at once.
SETTINGS = CodeSettings(
    time_limit_s=0.5, memory_bytes=16_000_000, output_bytes=500_000, processes=2
)


@pytest.fixture(autouse=True)
def _others() -> None:
    """Brokers and servers of the session are no processes of an interpreter."""
    remember_others()


@pytest.fixture
def settings() -> CodeSettings:
    """Limits that are reached at once."""
    return SETTINGS


@pytest.fixture
async def engine() -> AsyncIterator[MontyEngine]:
    """Monty with processes of the test's own."""
    async with MontyEngine(SETTINGS) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind, open."""
    async with empty_database(request.param, tmp_path) as opened:
        yield opened
