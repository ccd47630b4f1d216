"""Runs the command line: ``python -m effectmq``."""

from __future__ import annotations

import sys

from effectmq.cli import main

if __name__ == "__main__":
    sys.exit(main())
