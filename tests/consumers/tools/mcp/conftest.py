"""A real server over HTTP, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consumers.tools.mcp.serving import HttpServer


@pytest.fixture(scope="session")
def http_server() -> Iterator[HttpServer]:
    """Only to be talked to; who wants to kill one starts another."""
    with HttpServer() as server:
        yield server
