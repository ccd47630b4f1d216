"""Open a database by its address: ``sqlite:///path``, ``postgresql://…`` or ``memory://``."""

from __future__ import annotations

from effectmq.broker.store.database.port import Database
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.urls import mask_url

__all__ = ["open_database"]

#: Longer than a migration of the largest tables takes.
_PATIENT_S = 86_400.0


def open_database(url: str, *, namespace: str | None = None, patient: bool = False) -> Database:
    """
    The adapter for an address; not opened yet.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``,
            ``postgresql://user:password@host/database``, or ``memory://name`` for one inside this
            process.
        namespace: The namespace of what is kept; by default that of the worker that opens it
            (``Worker.use``), else ``effects``.
        patient: Whether a transaction may take very long, for a migration of large tables.

    Raises:
        ConfigurationError: When the address is of an unknown kind, or the namespace is invalid.
        MissingExtraError: When the driver of PostgreSQL is needed and not installed.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        from effectmq.broker.store.database.sqlite.adapter import SqliteDatabase

        if patient:
            return SqliteDatabase(url, namespace=namespace, busy_timeout_s=_PATIENT_S)
        return SqliteDatabase(url, namespace=namespace)
    if scheme in ("postgresql", "postgres"):
        from effectmq.broker.store.database.postgres.adapter import PostgresDatabase

        if patient:
            return PostgresDatabase(url, namespace=namespace, patience_s=_PATIENT_S, limited=False)
        return PostgresDatabase(url, namespace=namespace)
    if scheme == "memory":
        from effectmq.broker.store.database.sqlite.memory import MemoryDatabase

        return MemoryDatabase(url, namespace=namespace)
    raise ConfigurationError(
        f"{mask_url(url)!r} is not the address of a journal; expected sqlite:///path/to/file, "
        "postgresql://user:password@host/database, memory://name, or none"
    )
