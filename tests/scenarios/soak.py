"""
The long runs of chaos, one after the other: both brokers, each with every kind of journal.

``python -m tests.scenarios.soak`` runs all six; with arguments it is ``tests.scenarios.chaos`` with
those. It exits with 1 when anything was lost, in conflict, hanging or left over in any of them.
"""

from __future__ import annotations

import subprocess
import sys

__all__ = ["RUNS"]

#: The arguments of each run.
RUNS = tuple(
    ("--broker", broker, *journal)
    for broker in ("3.10", "4.0")
    for journal in (
        ("--journal", "none"),
        ("--journal", "sqlite"),
        ("--journal", "postgres", "--database-kills-every", "5-40"),
    )
)


def main(arguments: list[str]) -> int:
    """0 when nothing was wrong in any run."""
    worst = 0
    for run in [tuple(arguments)] if arguments else RUNS:
        print("chaos", *run, flush=True)
        # In a process of its own: whatever one run leaves behind is gone with it.
        worst = max(worst, subprocess.call([sys.executable, "-m", "tests.scenarios.chaos", *run]))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
