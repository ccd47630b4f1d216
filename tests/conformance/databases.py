"""
Databases for the conformance suites: an empty one for each test, of each kind.

SQLite is a file of the test's own. PostgreSQL is the server of this machine, with a schema of the
test's own; without a server the test is skipped on a laptop and fails where ``CI`` is set.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

__all__ = ["DATABASES", "empty_database"]

#: The kinds of database that everything kept is tested on.
DATABASES = ("sqlite", "postgres")

_SERVER = "postgresql://postgres@127.0.0.1/postgres"


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """
    The address of a database with nothing in it; what is made in it is gone afterwards.

    Args:
        kind: One of ``DATABASES``.
        folder: Where files may be made.
    """
    if kind == "sqlite":
        yield f"sqlite:///{folder}/effectmq.db"
        return
    schema = f"effectmq_test_{secrets.token_hex(6)}"
    _run(f"CREATE SCHEMA {schema}")
    try:
        yield f"{_SERVER}?options=-csearch_path%3D{schema}"
    finally:
        _run(f"DROP SCHEMA {schema} CASCADE")


def _run(statement: str) -> None:
    try:
        with psycopg.connect(_SERVER, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())
    except psycopg.OperationalError as problem:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            raise
        pytest.skip(f"no PostgreSQL at {_SERVER}: {problem}")
