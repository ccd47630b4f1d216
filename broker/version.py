"""The version of this installation."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

__all__ = ["version"]


@cache
def version() -> str:
    """The version of the installed package; ``unknown`` where it is not installed."""
    try:
        return installed_version("effectmq")
    except PackageNotFoundError:
        return "unknown"
