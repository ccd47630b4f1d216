"""The checks of ``effectmq doctor`` for the journal and the attachment store."""

from __future__ import annotations

import asyncio

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.sqlite.adapter import sqlite_path
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.cli.doctor.checks import Finding
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.urls import mask_url, memory_name

__all__ = ["check_attachments", "check_journal"]

_PATIENCE_S = 12.0


async def check_journal(url: str | None, *, chosen: bool) -> Finding:
    """
    Check whether the journal can be read and written; changes nothing and makes none.

    Args:
        url: Its address; ``None`` or ``none`` for none.
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
    if _is_missing_file(url):
        detail = f"{where} is not there yet; a worker makes it"
        return Finding("journal", "WARN" if chosen else "OK", detail)
    try:
        async with asyncio.timeout(_PATIENCE_S), open_archive(url) as archive:
            await archive.database.write(_touch)
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
    if not url.lower().startswith("sqlite:"):
        return False
    try:
        return not sqlite_path(url).exists()
    except EffectmqError:
        return False


def _touch(tx: Transaction) -> None:
    """Fail where nothing may be written; changes no row."""
    tx.execute("UPDATE effectmq_schema SET version = version WHERE 1 = 0")


async def check_attachments(store: AttachmentStore | None) -> Finding:
    """Check whether the attachment store can be used, as a worker does at its start."""
    if store is None:
        return Finding("attachments", "OK", "no store: large bodies are refused")
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
