"""A worker on a real broker, and the programs that are to be served by it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from effectmq import Worker

__all__ = ["PRODUCERS", "example_module", "outcome_of", "ran", "serving"]

PRODUCERS = Path(__file__).parents[3] / "examples" / "producers"
_PATIENCE_S = 60.0


def example_module(name: str) -> ModuleType:
    """A file of the examples, loaded from where it lies."""
    spec = spec_from_file_location(name, PRODUCERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # A dataclass asks for the module that it is defined in.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@asynccontextmanager
async def serving(broker: str, namespace: str, folder: Path) -> AsyncIterator[list[int]]:
    """A worker with one tool, and a journal in the folder; gives what the tool has computed."""
    sums: list[int] = []
    worker = Worker(broker, namespace=namespace, journal=f"sqlite:///{folder}/journal.db")

    @worker.tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        sums.append(a + b)
        return a + b

    async with worker:
        yield sums


async def ran(
    command: Sequence[str | Path], broker: str, namespace: str
) -> tuple[int | None, str, str]:
    """Run a producer to its end; gives its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "EFFECTMQ_BROKER": broker, "EFFECTMQ_NAMESPACE": namespace},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


async def outcome_of(command: Sequence[str | Path], broker: str, namespace: str) -> Any:
    """Run a producer until it has printed its outcome."""
    code, out, err = await ran(command, broker, namespace)
    assert code == 0, err
    return json.loads(out)
