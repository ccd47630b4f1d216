"""The version of this installation."""

from __future__ import annotations

from functools import cache

__all__ = ["version"]


@cache
def version() -> str:
    """The version of the installed package; ``unknown`` where it is not installed."""
    # Takes longer to load than all that the help of the command line needs.
    from importlib import metadata

    try:
        return metadata.version("effectmq")
    except metadata.PackageNotFoundError:
        return "unknown"
