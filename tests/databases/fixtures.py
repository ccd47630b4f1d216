"""The fixtures of tests that keep something; ``tests/conftest.py`` makes them known."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from tests.brokers.finding import Unavailable
from tests.databases.cluster import Cluster
from tests.databases.pooler import Pooler, pooler_program
from tests.databases.provide import Databases, Settings, read_settings

__all__ = [
    "database_url",
    "databases",
    "have",
    "keep_database_settings",
    "pooled_url",
    "pooler",
    "postgres_url",
    "private_postgres",
]

_SETTINGS = pytest.StashKey[Settings]()

Found = TypeVar("Found")


def keep_database_settings(config: pytest.Config) -> None:
    """Read the settings, before the environment is cleared."""
    config.stash[_SETTINGS] = read_settings(os.environ)


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Generator[Databases]:
    """Where servers come from; all that were started are stopped with the session."""
    provider = Databases(pytestconfig.stash[_SETTINGS])
    try:
        yield provider
    finally:
        provider.close()


_POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(params=["memory", "sqlite", _POSTGRES])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    return _empty(request, tmp_path)


@pytest.fixture(params=["sqlite", _POSTGRES])
def shared_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same, of the kinds that several processes share."""
    return _empty(request, tmp_path)


def _empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return f"memory://{secrets.token_hex(6)}"
        case "sqlite":
            return f"sqlite:///{tmp_path}/journal.db"
        case _:
            return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def postgres_url(databases: Databases, pytestconfig: pytest.Config) -> Generator[str]:
    """An empty schema of its own on the shared PostgreSQL."""
    server = have(pytestconfig, databases.shared)
    schema = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    joint = "&" if "?" in server else "?"
    yield f"{server}{joint}options=-csearch_path%3D{schema}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '20s'; SET client_min_messages = warning")
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture(scope="session")
def pooler(databases: Databases, pytestconfig: pytest.Config) -> Generator[Pooler]:
    """A pooler in transaction mode, in front of the shared PostgreSQL."""
    server = have(pytestconfig, databases.shared)
    program = have(pytestconfig, pooler_program)
    with contextlib.closing(Pooler(program, server)) as opened:
        yield opened


@pytest.fixture
def pooled_url(pooler: Pooler, postgres_url: str) -> str:
    """An empty schema of its own, through the pooler."""
    return f"{pooler.url}?{postgres_url.partition('?')[2]}"


@pytest.fixture
def private_postgres(databases: Databases, pytestconfig: pytest.Config) -> Generator[Cluster]:
    """A running PostgreSQL for this test alone, to kill, freeze or misconfigure."""
    with contextlib.closing(have(pytestconfig, databases.private)) as cluster:
        yield cluster


def have(config: pytest.Config, get: Callable[[], Found]) -> Found:
    """What a test needs; without it the test is skipped on a laptop and fails where CI is set."""
    try:
        return get()
    except Unavailable as error:
        if config.stash[_SETTINGS].strict:
            pytest.fail(f"what this test needs is not available: {error}", pytrace=False)
        pytest.skip(f"what this test needs is not available: {error}")
