"""The servers to measure on: those that are named, or some of our own."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import psycopg

from tests.brokers.finding import Unavailable
from tests.brokers.provide import Brokers
from tests.brokers.settings import DEFAULT, read_settings
from tests.databases.provide import Databases, Settings

__all__ = ["broker_address", "postgres_address", "postgres_version"]


@contextmanager
def broker_address(url: str | None, release: str | None) -> Generator[tuple[str, int | None]]:
    """The broker at an address, or a node of our own with its process."""
    if url and release is None:
        yield url, None
        return
    name = release or DEFAULT
    brokers = Brokers(replace(read_settings(os.environ), wanted=(name,), address=None))
    try:
        node = brokers.private(name)
        yield node.url, node.pid
    finally:
        brokers.close()


@contextmanager
def postgres_address(url: str | None) -> Generator[Callable[[], str]]:
    """The PostgreSQL at an address, or one of our own when it is asked for."""
    databases = Databases(Settings(url, strict=False))

    @cache
    def address() -> str:
        try:
            return databases.shared() if url else databases.private().url
        except Unavailable as problem:
            raise LookupError(str(problem)) from None

    try:
        yield address
    finally:
        databases.close()


def postgres_version(url: str) -> str:
    """The version of a running PostgreSQL, such as ``15.10``."""
    with psycopg.connect(url) as connection:
        return str(connection.info.parameter_status("server_version") or "").partition(" ")[0]
