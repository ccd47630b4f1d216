"""Without the extra, one sentence says how to get it."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT = """\
import sys
sys.modules["fastapi"] = None
from effectmq.cli import main
raise SystemExit(main(["api"]))
"""


def test_what_is_not_installed_is_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "effectmq: the HTTP API needs a package that is not installed; run: "
        "pip install 'effectmq[api]'"
    )
