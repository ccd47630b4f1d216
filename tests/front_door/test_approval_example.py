"""The example of answers: a person approves, refuses, and is not asked twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_TOLD = """\
A-1 success: {'approved': True, 'by': 'rule'}
A-2 success: {'approved': True, 'by': 'ann'}
A-3 failure: not without a receipt
"""


def test_refunds_are_approved_and_refused_once(tmp_path: Path) -> None:
    """In one process; a second run over the same journal asks nobody."""
    for asked in (2, 0):
        done = subprocess.run(
            [sys.executable, "-m", "examples.approval"],
            cwd=_ROOT,
            env={**os.environ, "EFFECTMQ_JOURNAL": f"sqlite:///{tmp_path}/journal.db"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == _TOLD
        assert done.stderr.count("a person is asked") == asked
