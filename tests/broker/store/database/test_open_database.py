"""Addresses of databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.sqlite.adapter import sqlite_path
from effectmq.protocol.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///journal.db", "journal.db"),
        ("sqlite:////var/lib/journal.db", "/var/lib/journal.db"),
        ("SQLite:///a b#c%d.db", "a b#c%d.db"),
    ],
)
def test_a_file_is_named_by_its_path(url: str, path: str) -> None:
    """Three slashes and a relative path, or four."""
    assert sqlite_path(url) == Path(path)
    assert open_database(url).where == url


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:journal.db", "sqlite:///", "sqlite:///:memory:"]
)
def test_an_address_without_a_file_is_refused(url: str) -> None:
    """A journal in memory would forget everything."""
    with pytest.raises(ConfigurationError, match="names no file"):
        open_database(url)


@pytest.mark.parametrize(
    "query", ["mode=ro", "mode=rwc&cache=shared", "immutable=1", "", "foo", "timeout=5"]
)
def test_options_of_a_file_are_refused_and_no_file_is_made(tmp_path: Path, query: str) -> None:
    """It would be a file of that name, and whoever wrote mode=ro would find it written to."""
    with pytest.raises(ConfigurationError, match="option"):
        open_database(f"sqlite:///{tmp_path}/x.db?{query}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "query", ["foo=1", "connect_timeout=abc", "keepalives_idle=1.5", "sslmode=maybe"]
)
async def test_options_of_a_server_are_refused_before_it_is_asked(query: str) -> None:
    """Trying again would not help, so it must not look as if the server were away."""
    database = open_database(f"postgresql://me:s3cret@127.0.0.1:1/db?{query}")
    with pytest.raises(ConfigurationError, match="cannot be used") as refused:
        await database.__aenter__()
    assert "s3cret" not in str(refused.value)


def test_an_unknown_kind_is_refused_without_its_password() -> None:
    """With what would do."""
    with pytest.raises(ConfigurationError, match="expected sqlite:///") as refused:
        open_database("mysql://me:s3cret@host/db")
    assert "s3cret" not in str(refused.value)


def test_a_password_is_not_shown() -> None:
    """Wherever it stands in the address."""
    for url in (
        "postgresql://me:s3cret@host/db",
        "postgres://me@host/db?password=s3cret&sslmode=require",
    ):
        assert "s3cret" not in open_database(url).where
