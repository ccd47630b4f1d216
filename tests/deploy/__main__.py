"""``python -m tests.deploy``: fetch what reads deploy/, ahead of the tests and of their limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tests.brokers.finding import Unavailable
from tests.databases.provide import read_settings
from tests.deploy.promtool import find_promtool
from tests.deploy.schemas import find_schemas


def main() -> int:
    """0 when everything can be had, or when its tests may be skipped."""
    strict = read_settings(os.environ).strict
    wanted: dict[str, Callable[[], object]] = {
        "promtool": find_promtool,
        "schemas of Kubernetes": find_schemas,
    }
    code = 0
    for name, find in wanted.items():
        try:
            find()
            outcome = "ready"
        except Unavailable as problem:
            outcome = str(problem)
            code = int(strict)
        print(f"deploy: {name}: {outcome}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
