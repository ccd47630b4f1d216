"""
Run the few tests that failed beside others once more, alone: ``python -m tests.again STATUS``.

Hundreds of processes and three brokers share the machine of a whole run, and a test that waits
for one of them can starve. What fails alone as well has failed. What passes alone is named, with
its failure above, and is a fault to be found: of the test, or of what it tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: More than this is no chance.
MOST = 2
_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def failed_tests(kept: Path) -> list[str]:
    """
    The tests that failed in the last run.

    Args:
        kept: Where pytest keeps them, as JSON.

    Returns:
        Their names, for pytest's command line; none where the file is missing.
    """
    if not kept.exists():
        return []
    return sorted(json.loads(kept.read_text()))


def worth_another_look(status: int, names: list[str]) -> bool:
    """
    Whether a run failed by so few tests that they are run again.

    Args:
        status: What pytest exited with.
        names: The tests that failed.
    """
    return status == pytest.ExitCode.TESTS_FAILED and 0 < len(names) <= MOST


def main(status: int) -> int:
    """
    Run again what failed, if it is little.

    Args:
        status: What the whole run exited with.

    Returns:
        0 if all of it passes alone, else what stands.
    """
    names = failed_tests(_FAILED)
    if not worth_another_look(status, names):
        return status
    told = "\n  ".join(names)
    print(f"\nFailed beside the others, and run once more, alone:\n  {told}\n", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", "-n0", *names], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
