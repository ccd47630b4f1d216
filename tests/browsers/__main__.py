"""``python -m tests.browsers``: install the tests' browser, ahead of the tests."""

from __future__ import annotations

import os
import sys

from tests.brokers.finding import Unavailable
from tests.browsers.finding import chromium
from tests.databases.provide import read_settings


def main() -> int:
    """0 when it can be had, or when its tests may be skipped."""
    try:
        outcome, code = f"ready as {chromium()}", 0
    except Unavailable as problem:
        outcome, code = str(problem), int(read_settings(os.environ).strict)
    print(f"browsers: Chromium: {outcome}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
