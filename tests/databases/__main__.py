"""``python -m tests.databases``: install what the tests' databases need, ahead of the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.brokers.finding import Unavailable
from tests.databases.faketime import faketime_library
from tests.databases.finding import programs
from tests.databases.pooler import pooler_program
from tests.databases.provide import read_settings


def main() -> int:
    """0 when everything can be had, or when its tests may be skipped."""
    settings = read_settings(os.environ)
    wanted: dict[str, Callable[[], Path]] = {
        "PostgreSQL": programs,
        "pgbouncer": pooler_program,
        "faketime": faketime_library,
    }
    code = 0
    for name, find in wanted.items():
        try:
            outcome = f"ready in {find()}"
        except Unavailable as problem:
            outcome = str(problem)
            code = int(settings.strict)
        print(f"databases: {name}: {outcome}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
