"""Finding Chromium: on the PATH, or from apt when root."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.brokers.finding import found_or_installed

__all__ = ["chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> Path:
    """
    Chromium, installed or from apt.

    Raises:
        Unavailable: When it is not there and cannot be installed.
    """
    return found_or_installed(_installed, "chromium", "chromium on the PATH")


def _installed() -> Path | None:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return Path(found) if found else None
