"""The figures of one run of the peers, the file that keeps them, and their table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.kept.results import KEPT
from benchmarks.kept.texts import busy_words

__all__ = ["PeerFigure", "PeerRun", "peer_table"]

_NAMES = {"ours": "effectmq", "plain": "plain aio-pika", "faststream": "FastStream"}
_NOTHING = "No run is kept: `python -m benchmarks.peers --keep` makes one.\n"
_TIMES = "\u00d7"


@dataclass(frozen=True)
class PeerFigure:
    """What one library did, medians over the turns."""

    side: str
    in_flight: int
    per_second: float
    p50_ms: float
    cpu_us: float


@dataclass
class PeerRun:
    """One run, with the machine, the versions, and what each library promises."""

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    how: dict[str, Any]
    figures: list[PeerFigure]
    promises: dict[str, str]

    def keep(self, folder: Path = KEPT / "peers") -> Path:
        """Write it; the file's name."""
        series = ".".join(self.versions["rabbitmq"].split(".")[:2])
        file = folder / f"rabbitmq-{series}.json"
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return file

    @classmethod
    def kept(cls, folder: Path = KEPT / "peers") -> list[Self]:
        """All that are kept, by the names of their files."""
        return [cls._read(file) for file in sorted(folder.glob("*.json"))]

    @classmethod
    def _read(cls, file: Path) -> Self:
        found = json.loads(file.read_text())
        figures = [PeerFigure(**each) for each in found.pop("figures")]
        return cls(**found, figures=figures)


def peer_table(runs: Sequence[PeerRun]) -> str:
    """A line for each library, with what it promises."""
    if not runs:
        return _NOTHING
    return "\n".join(_one(run) for run in runs)


def _one(run: PeerRun) -> str:
    by = {(figure.side, figure.in_flight): figure for figure in run.figures}
    ours = by["ours", 100]
    lines = [
        f"{run.date[:10]}, RabbitMQ {run.versions['rabbitmq']} and all of it on "
        f"{run.machine['cores']} cores ({run.machine['cpu']}), medians of {run.how['turns']} "
        f"turns{busy_words(run.how)}.",
        "",
        "| | 100 in flight | CPU of client and worker for each of these | 1 in flight, p50 | "
        "what is promised, as it is measured |",
        "|---|---|---|---|---|",
    ]
    for side, promise in run.promises.items():
        many, one = by[side, 100], by[side, 1]
        over = ours.per_second / many.per_second
        beside = "" if side == "ours" else f"; ours is {over:.1f}{_TIMES} that"
        lines.append(
            f"| {_label(side, run.versions)} | {many.per_second:,.0f} a second{beside} | "
            f"{many.cpu_us:,.0f} µs | {one.p50_ms:.1f} ms | {promise} |"
        )
    return "\n".join(lines) + "\n"


def _label(side: str, versions: dict[str, str]) -> str:
    """A library with its version, and how it was set up."""
    name, comma, how = side.partition(",")
    version = f" {versions[name]}" if name in versions else ""
    return f"{_NAMES.get(name, name)}{version}{comma}{how}"
