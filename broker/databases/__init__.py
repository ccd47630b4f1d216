"""Open a database by its address: ``sqlite:///path`` or ``postgresql://…``."""

from __future__ import annotations

from effectmq.broker.database import Database
from effectmq.broker.urls import mask_url
from effectmq.protocol.errors import ConfigurationError

__all__ = ["open_database"]


def open_database(url: str) -> Database:
    """
    The adapter for an address; not opened yet.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or
            ``postgresql://user:password@host/database``.

    Raises:
        ConfigurationError: When the address is of no known kind.
        MissingExtraError: When PostgreSQL is asked for and its driver is not installed.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        from effectmq.broker.databases.sqlite import SqliteDatabase

        return SqliteDatabase(url)
    if scheme in ("postgresql", "postgres"):
        from effectmq.broker.databases.postgres import PostgresDatabase

        return PostgresDatabase(url)
    raise ConfigurationError(
        f"{mask_url(url)!r} is no address of a journal; expected sqlite:///path/to/file, "
        "postgresql://user:password@host/database, or none"
    )
