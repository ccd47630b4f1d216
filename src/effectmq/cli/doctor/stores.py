"""
The checks of ``effectmq doctor`` for the journal and the attachment store.

Both are only looked at: a file, a folder or tables that are not there yet are left to the first
worker.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.database.sqlite.adapter import is_missing, sqlite_path
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA
from effectmq.cli.doctor.checks import Finding
from effectmq.cli.program.schemas import SCHEMAS
from effectmq.protocol.errors import EffectmqError, SchemaVersionError
from effectmq.protocol.urls import mask_url, memory_name

__all__ = ["check_attachments", "check_journal"]

_PATIENCE_S = 12.0


async def check_journal(url: str | None, namespace: str, *, chosen: bool) -> Finding:
    """
    Check whether the journal can be read and written, and whether its tables fit this version.

    Args:
        url: Its address; ``None`` or ``none`` for none.
        namespace: The namespace of the effects.
        chosen: Whether somebody named the journal; ``False`` for the default one.
    """
    if url is None or url.lower() == "none":
        return Finding(
            "journal",
            "OK",
            "none: bodies may run again after a crash, outcomes are not remembered",
        )
    where = mask_url(url)
    if memory_name(url) is not None:
        return Finding("journal", "OK", f"{where} is in the memory of a worker and ends with it")
    missing = Finding(
        "journal", "WARN" if chosen else "OK", f"{where} is not there yet; a worker makes it"
    )
    if _is_missing_file(url):
        return missing
    try:
        async with (
            asyncio.timeout(_PATIENCE_S),
            open_database(url, namespace=namespace) as database,
        ):
            if not await _versions_fit(database):
                return missing
            await database.write(_touch)
    except TimeoutError:
        return Finding(
            "journal",
            "FAIL",
            f"{where} did not answer within {_PATIENCE_S:g} s; is it up?",
        )
    except EffectmqError as problem:
        return Finding("journal", "FAIL", str(problem))
    return Finding("journal", "OK", f"{where} can be read and written")


def _is_missing_file(url: str) -> bool:
    """An empty file counts as none: SQLite would begin a database in it as soon as it looks."""
    if not url.lower().startswith("sqlite:"):
        return False
    try:
        path = sqlite_path(url)
        return is_missing(path) or (path.is_file() and not path.stat().st_size)
    except (EffectmqError, OSError):
        return False


async def _versions_fit(database: Database) -> bool:
    """
    Compare the tables of each component with this version.

    Returns:
        Whether the journal has tables at all.

    Raises:
        SchemaVersionError: When a worker of this version would refuse some.
    """
    for schema in SCHEMAS:
        found = await schema.found(database)
        if found not in (0, schema.version):
            raise SchemaVersionError(
                schema.component, found, schema.version, database.where, database.namespace
            )
    return await JOURNAL_SCHEMA.found(database) != 0


def _touch(tx: Transaction) -> None:
    """Fail where nothing may be written; changes no row."""
    tx.execute("UPDATE effectmq_effects SET status = status WHERE 1 = 0")


async def check_attachments(store: AttachmentStore | None) -> Finding:
    """Check whether the attachment store can be used, as a worker does at its start."""
    if store is None:
        return Finding("attachments", "OK", "no store: large bodies are refused")
    if _is_missing_folder(store.where):
        return Finding(
            "attachments", "WARN", f"{store.where} is not there yet; a worker makes the folder"
        )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await store.__aenter__()
            await store.__aexit__()
    except TimeoutError:
        return Finding(
            "attachments", "FAIL", f"{store.where} did not answer within {_PATIENCE_S:g} s"
        )
    except EffectmqError as problem:
        return Finding("attachments", "FAIL", str(problem))
    return Finding("attachments", "OK", f"{store.where} can be written")


def _is_missing_folder(where: str) -> bool:
    """Whether a worker could make it: a file in its path is found by opening the store."""
    scheme, _, path = where.partition("://")
    if scheme != "file":
        return False
    folder = Path(path)
    nearest = next((each for each in folder.parents if not is_missing(each)), folder)
    return is_missing(folder) and nearest.is_dir()
