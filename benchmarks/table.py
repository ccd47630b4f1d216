"""
``python -m benchmarks.table``: the table of README.md and docs/benchmarks.md, and the pictures.

They are made from the runs in ``benchmarks/results``, which ``python -m benchmarks --keep`` and
``python -m benchmarks.peers --keep`` write.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kept.peers import PeerRun, peer_table
from benchmarks.kept.plots import Plot, by_in_flight, by_size
from benchmarks.kept.results import Run
from benchmarks.kept.table import DRAWN, replaced, table

__all__ = ["files"]

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/benchmarks.md")
PEERS_PAGE = "docs/benchmarks.md"
PICTURES = "docs/pictures"
#: What stands between the marks of a page.
TABLE, PEERS = "the table", "the peers"


def files(runs: Sequence[Run], peers: Sequence[PeerRun], root: Path = ROOT) -> dict[str, str]:
    """What each file should be, by its path."""
    pictures = _pictures(runs)
    found: dict[str, str] = {}
    for page in PAGES:
        links = (_link(page, name, plot) for name, plot in pictures.items())
        text = "\n".join((table(runs), *links))
        found[page] = replaced((root / page).read_text(), TABLE, text)
    found[PEERS_PAGE] = replaced(found[PEERS_PAGE], PEERS, peer_table(peers))
    return found | {f"{PICTURES}/{name}": plot.svg() for name, plot in pictures.items()}


def _pictures(runs: Sequence[Run]) -> dict[str, Plot]:
    """Those of the newest run that has what they show, by the names of their files."""
    drawn = [run for run in runs if {each.row for each in run.figures} >= DRAWN]
    if not drawn:
        return {}
    newest = max(drawn, key=lambda run: run.date)
    return {
        "throughput-by-size.svg": by_size(newest),
        "throughput-by-in-flight.svg": by_in_flight(newest),
    }


def _link(page: str, name: str, plot: Plot) -> str:
    """How a page shows a picture, with its words for who cannot see it."""
    where = f"{PICTURES}/{name}" if "/" not in page else f"pictures/{name}"
    return f"![{plot.title}: {plot.about}]({where})\n"


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__).parse_args()
    for name, content in files(Run.kept(), PeerRun.kept()).items():
        path = ROOT / name
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
            print(f"{name} is new")
