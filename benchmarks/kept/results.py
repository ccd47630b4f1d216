"""The figures of one run, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

__all__ = ["KEPT", "Figure", "Run"]

#: The runs that are kept, one file for each series of RabbitMQ.
KEPT = Path(__file__).parents[1] / "results"

#: How a figure is written: so many times, milliseconds, kibibytes, megabytes, seconds.
Unit = Literal["times", "ms", "KiB", "MB", "s"]


@dataclass(frozen=True)
class Figure:
    """
    One line of the table.

    Attributes:
        row: The group of measurements that it comes from.
        name: Unique in a run.
        what: What was measured, a phrase.
        value: The figure.
        unit: Of the value.
        required: What it should be, as in ``≥ 2.3`` or ``≤ 45``; empty when it is only told.
        ours: What the value is made of, on our side; ``None`` when it is the value itself.
        beside: The same of what it is compared with.
        per: What these two are, a phrase.
        shape: Body bytes, calls in flight and the like, for plots.
        more: Everything else that was seen.
    """

    row: str
    name: str
    what: str
    value: float
    unit: Unit = "times"
    required: str = ""
    ours: float | None = None
    beside: float | None = None
    per: str = ""
    shape: dict[str, int] = field(default_factory=dict[str, int])
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def fits(self) -> bool | None:
        """Whether it is what it should be; ``None`` when nothing is required."""
        if not self.required:
            return None
        sign, number = self.required.split()
        return self.value >= float(number) if sign == "≥" else self.value <= float(number)


@dataclass
class Run:
    """
    One run of the benchmarks.

    Attributes:
        date: When, as ISO 8601 has it, in UTC.
        machine: Processor, cores, memory, system.
        versions: Python, RabbitMQ, PostgreSQL, and of the packages that matter.
        how: Turns and seconds of each, and whether uvloop was used.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    how: dict[str, Any]
    figures: list[Figure]

    @property
    def rabbitmq(self) -> str:
        """The version of the broker."""
        return self.versions["rabbitmq"]

    @property
    def file_name(self) -> str:
        """One for each series, such as ``rabbitmq-3.10.json``."""
        return f"rabbitmq-{'.'.join(self.rabbitmq.split('.')[:2])}.json"

    def write(self, file: Path) -> None:
        """Keep it there."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """What was kept there."""
        found = json.loads(file.read_text())
        figures = [Figure(**each) for each in found.pop("figures")]
        return cls(**found, figures=figures)

    @classmethod
    def kept(cls, folder: Path = KEPT) -> list[Self]:
        """All that are kept, the oldest broker first."""
        runs = [cls.read(file) for file in folder.glob("*.json")]
        return sorted(runs, key=lambda run: [int(part) for part in run.rabbitmq.split(".")])
