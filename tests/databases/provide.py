"""Hands out the session's PostgreSQL: one that all tests share, private ones on demand."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.brokers.finding import Unavailable
from tests.brokers.node import NodeError
from tests.databases.cluster import Cluster
from tests.databases.finding import programs

__all__ = ["Databases", "Settings", "read_settings"]

_USUAL = "postgresql://postgres@127.0.0.1:5432/postgres"


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What the session wants.

    Attributes:
        address: A running server that the tests may use; ``None`` to find one.
        strict: A server that cannot be had is a failure, not a skip.
    """

    address: str | None
    strict: bool


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings out of an environment: ``EFFECTMQ_TEST_POSTGRES`` and ``CI``."""
    strict = environment.get("CI", "").lower() not in ("", "0", "false")
    return Settings(environment.get("EFFECTMQ_TEST_POSTGRES") or None, strict)


class Databases:
    """All servers of one test session; nothing is started before it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared: str | Unavailable | None = None
        self._closing = contextlib.ExitStack()
        self._folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))

    def shared(self) -> str:
        """
        The address of the one that tests share.

        Raises:
            Unavailable: When there is none; asked again, with the same answer at once.
        """
        if self._shared is None:
            try:
                self._shared = self._find()
            except Unavailable as problem:
                self._shared = problem
        if isinstance(self._shared, Unavailable):
            raise Unavailable(str(self._shared))
        return self._shared

    def private(self) -> Cluster:
        """
        A server of its own, running, for a test that breaks it; the caller closes it.

        Raises:
            Unavailable: When there is no PostgreSQL to start.
        """
        cluster = Cluster(programs(), self._folder / "template")
        self._closing.callback(cluster.close)
        try:
            cluster.start()
        except NodeError as problem:
            raise Unavailable(str(problem)) from None
        return cluster

    def close(self) -> None:
        """Stop everything that was started."""
        self._closing.close()

    def _find(self) -> str:
        if self._settings.address is not None:
            problem = _refusal(self._settings.address)
            if problem is None:
                return self._settings.address
            raise Unavailable(f"EFFECTMQ_TEST_POSTGRES names a server that does not do: {problem}")
        return _USUAL if _refusal(_USUAL) is None else self.private().url


def _refusal(url: str) -> str | None:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.Error as problem:
        return str(problem)
    return None
