"""``effectmq worker`` on uvloop, for the comparison that asks whether it helps."""

from __future__ import annotations

import sys
from importlib import import_module

from effectmq.cli import main

if __name__ == "__main__":
    import_module("uvloop").install()
    sys.exit(main())
