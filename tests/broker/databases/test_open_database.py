"""Addresses of databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from effectmq.broker.databases import open_database
from effectmq.broker.databases.sqlite import sqlite_path
from effectmq.protocol.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///journal.db", "journal.db"),
        ("sqlite:////var/lib/journal.db", "/var/lib/journal.db"),
        ("SQLite:///a b#c?d.db", "a b#c?d.db"),
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
