"""Engines on CPython for tests; where there can be no sandbox, skipped, and failed in CI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from effectmq.consumers.code.cpython.engine import CPythonEngine
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.errors import ConfigurationError

__all__ = ["SANDBOXED", "sandboxed", "write_bubblewrap"]

#: Small, so that every limit is reached soon; but an interpreter has to start in between.
SANDBOXED = CodeSettings(
    backend="cpython",
    time_limit_s=2.0,
    memory_bytes=32_000_000,
    output_bytes=500_000,
    processes=2,
)


@asynccontextmanager
async def sandboxed(settings: CodeSettings = SANDBOXED) -> AsyncIterator[CPythonEngine]:
    """A started engine."""
    engine = CPythonEngine(settings)
    try:
        await engine.__aenter__()
    except ConfigurationError as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(problem))
    async with engine:
        yield engine


def write_bubblewrap(folder: Path, text: str) -> None:
    """A program of the name of bubblewrap's."""
    program = folder / "bwrap"
    program.write_text(text)
    program.chmod(0o755)
