"""
The long runs of chaos, one after the other: every broker, each with every kind of journal.

``python -m tests.scenarios.soak`` runs all of them; with arguments it is ``tests.scenarios.chaos``
with those. It exits with 1 when anything was lost, in conflict, hanging or left over in any of
them, or when a run did not end by itself. The last lines say what became of each.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.brokers.finding import SUITES

__all__ = ["RUNS"]

_EFFECTS = "30000"
#: Nobody knows then which bodies had begun when a worker died, so that a killer would take innocent
#: effects along: the tests of single deaths are about that, and here it is about loss.
_WITHOUT_JOURNAL = ("--effects", "10000", "--killers", "0", "--max-deaths", "100")
#: A run takes five minutes on a quiet machine of two processors.
_LONGEST_SECONDS = 3_600.0

#: The arguments of each run.
RUNS = tuple(
    ("--broker", broker, *journal)
    for broker in SUITES
    for journal in (
        ("--journal", "sqlite", "--effects", _EFFECTS),
        ("--journal", "postgres", "--effects", _EFFECTS, "--database-kills-every", "5-40"),
        ("--journal", "none", *_WITHOUT_JOURNAL),
    )
)


def main(arguments: list[str]) -> int:
    """0 when nothing was wrong in any run."""
    outcomes = [(run, _run(run)) for run in ([tuple(arguments)] if arguments else RUNS)]
    for run, outcome in outcomes:
        print("chaos", *run, "->", outcome or "nothing wrong")
    return int(any(outcome for _, outcome in outcomes))


def _run(words: Sequence[str]) -> str:
    """What was wrong, or nothing."""
    print("chaos", *words, flush=True)
    # In a process of its own: whatever one run leaves behind is gone with it.
    process = subprocess.Popen([sys.executable, "-m", "tests.scenarios.chaos", *words])
    try:
        code = process.wait(_LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        return f"still running after {_LONGEST_SECONDS:.0f} s"
    finally:
        # Its watchdogs end the broker, the database and all workers with it.
        process.kill()
        process.wait()
    return f"it exited with {code}" if code else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
