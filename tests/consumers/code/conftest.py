"""Both databases, and an engine that is shared where nothing kills its processes."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from effectmq.broker.database import Database
from effectmq.broker.databases import open_database
from effectmq.consumers.code.monty import MontyEngine
from effectmq.consumers.code.settings import CodeSettings

_POSTGRES = "postgresql://postgres@127.0.0.1/postgres"

#: Small, so that every limit is reached at once.
SETTINGS = CodeSettings(
    time_limit_s=0.5, memory_bytes=16_000_000, output_bytes=500_000, processes=2
)


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
    if request.param == "sqlite":
        async with open_database(f"sqlite:///{tmp_path}/state.db") as opened:
            yield opened
        return
    psycopg = pytest.importorskip("psycopg")
    schema = f"code_{secrets.token_hex(6)}"
    try:
        owner = psycopg.connect(_POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.Error as problem:
        unavailable = f"PostgreSQL is not available: {problem}"
        if os.environ.get("CI"):
            pytest.fail(unavailable, pytrace=False)
        pytest.skip(unavailable)
    with owner:
        owner.execute(f"CREATE SCHEMA {schema}")
        try:
            url = f"{_POSTGRES}?options=-csearch_path%3D{schema}"
            async with open_database(url) as opened:
                yield opened
        finally:
            owner.execute(f"DROP SCHEMA {schema} CASCADE")
    owner.close()
