"""``python -m tests.databases``: install what the tests' PostgreSQL needs, ahead of the tests."""

from __future__ import annotations

import os
import sys

from tests.brokers.finding import Unavailable
from tests.databases.finding import programs
from tests.databases.provide import read_settings


def main() -> int:
    """0 when PostgreSQL can be had, or when its tests may be skipped."""
    settings = read_settings(os.environ)
    try:
        outcome, code = f"ready in {programs()}", 0
    except Unavailable as problem:
        outcome, code = str(problem), int(settings.strict)
    print(f"databases: PostgreSQL: {outcome}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
