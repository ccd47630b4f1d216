"""A process that is killed while it commits loses nothing that it had been told is recorded."""

from __future__ import annotations

import subprocess
import sys

TIMES = 30


def test_what_was_acknowledged_survives_kill_9(shared_database_url: str) -> None:
    """Whatever it was doing; and no row is half-written."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.broker.store.database.kills",
            shared_database_url,
            str(TIMES),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{TIMES} kills, ")
    assert done.stdout.endswith(" acknowledged, 0 lost\n")
