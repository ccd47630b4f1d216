"""A worker with a tool that says how far it is, and never ends at its first run."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from effectmq import EffectContext, Worker, WorkerSettings

app = Worker(settings=WorkerSettings(**json.loads(os.environ.get("SCENARIO_SETTINGS", "{}"))))


@app.tool(on_uncertain="retry")
def index(folder: str, context: EffectContext) -> str:
    """Say it; the next run waits for a word before it says anything, and one before it ends."""
    if not _first(Path(folder)):
        _wait_for(Path(folder, "tell"))
        context.progress(1, 12, "once more")
        _wait_for(Path(folder, "end"))
        return "done"
    for page in range(1, 10):
        context.progress(page, 12, "at first")
    threading.Event().wait()
    return "never"


def _first(folder: Path) -> bool:
    try:
        (folder / "begun").mkdir()
    except FileExistsError:
        return False
    return True


def _wait_for(word: Path) -> None:
    while not word.exists():
        time.sleep(0.01)
