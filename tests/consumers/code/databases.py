"""An empty database for one test: a file, or a schema of its own in PostgreSQL."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database

__all__ = ["empty_database"]

_POSTGRES = "postgresql://postgres@127.0.0.1/postgres"


@asynccontextmanager
async def empty_database(kind: str, folder: Path) -> AsyncIterator[Database]:
    """
    Open one.

    Args:
        kind: ``sqlite`` or ``postgres``. Without a server the test is skipped on a laptop, and
            fails where CI is set.
        folder: For the file.
    """
    if kind == "sqlite":
        async with open_database(f"sqlite:///{folder}/state.db") as opened:
            yield opened
        return
    with _schema() as name:
        url = f"{_POSTGRES}?options=-csearch_path%3D{name}"
        async with open_database(url) as opened:
            yield opened


@contextmanager
def _schema() -> Iterator[str]:
    name = f"code_{secrets.token_hex(6)}"
    try:
        owner = psycopg.connect(_POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.Error as problem:
        unavailable = f"PostgreSQL is not available: {problem}"
        if os.environ.get("CI"):
            pytest.fail(unavailable, pytrace=False)
        pytest.skip(unavailable)
    with owner:
        owner.execute(f"CREATE SCHEMA {name}")
        try:
            yield name
        finally:
            owner.execute(f"DROP SCHEMA {name} CASCADE")
