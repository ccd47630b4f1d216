"""``python -m tests.brokers``: install what the tests' brokers need, before the tests start."""

from __future__ import annotations

import os
import sys

from tests.brokers.provide import label, prepare
from tests.brokers.settings import read_settings


def main() -> int:
    """0 when every wanted broker can be had, or when its tests may be skipped."""
    settings = read_settings(os.environ)
    problems = prepare(settings)
    for name in settings.wanted:
        outcome = problems.get(name, f"ready as {label(settings, name)}")
        print(f"brokers: {name}: {outcome}", file=sys.stderr)
    return 1 if problems and settings.strict else 0


if __name__ == "__main__":
    sys.exit(main())
