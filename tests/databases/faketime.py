"""libfaketime, which sets the wall clock of one process: installed, or from apt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.brokers.finding import found_or_installed

__all__ = ["faked", "faketime_library"]

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def faketime_library() -> Path:
    """
    The library to load before a program.

    Raises:
        Unavailable: When it is not there and cannot be installed.
    """
    return found_or_installed(_installed, "faketime", "libfaketime here")


def faked(library: Path, file: Path) -> Mapping[str, str]:
    """The variables below which the wall clock is off by what the file says, and no other clock."""
    file.write_text("+0\n")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _installed() -> Path | None:
    found = [path for place in _PLACES for path in Path("/").glob(place.removeprefix("/"))]
    return found[0] if found else None
