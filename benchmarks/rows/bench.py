"""What every row is given, and how two or more sides take turns."""

from __future__ import annotations

import secrets
import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sides.processes import Side, Turn
from benchmarks.sides.spec import Spec

__all__ = ["Bench", "Turns", "median", "quartiles", "ratio"]

#: What each side did, turn by turn.
Turns = dict[str, list[Turn]]


@dataclass
class Bench:
    """
    How to measure.

    Attributes:
        broker: The address of the broker.
        broker_pid: Its process, when it was started for this; else ``None``.
        turns: How often the sides take turns.
        seconds: How long one turn takes.
        folder: For files, removed at the end.
        postgres: Makes sure of a PostgreSQL and returns its address; raises when there is none.
        quick: Whether it is only to be seen that everything works.
        deep: How many messages wait in a deep queue.
        uvloop: Whether both sides run on uvloop.
        traces: Whether to measure our side with traces as well.
    """

    broker: str
    folder: Path
    postgres: Callable[[], str]
    broker_pid: int | None = None
    turns: int = 7
    seconds: float = 2.0
    quick: bool = False
    deep: int = 100_000
    uvloop: bool = False
    traces: bool = False
    notes: list[str] = field(default_factory=list[str])

    def spec(self, **changes: object) -> Spec:
        """A side on this broker, in a namespace of its own."""
        namespace = f"bench-{secrets.token_hex(3)}"
        return Spec(broker=self.broker, namespace=namespace, uvloop=self.uvloop).but(**changes)

    def sqlite(self) -> str:
        """The address of a new journal; every write is on the disk before it is answered."""
        return f"sqlite:///{self.folder}/{secrets.token_hex(4)}.db"

    def store(self) -> str:
        """The address of a new attachment store in a directory."""
        return f"file://{self.folder}/{secrets.token_hex(4)}"

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        print(text, file=sys.stderr, flush=True)

    def compare(
        self,
        specs: Mapping[str, Spec],
        *,
        turns: int | None = None,
        seconds: float | None = None,
        calls_each: int = 0,
        after: Callable[[Mapping[str, Side]], None] | None = None,
    ) -> Turns:
        """
        Let sides take turns. Who begins takes turns, too; the first turn of each is for warming.

        Args:
            specs: The sides by name.
            turns: How often; as the run has it by default.
            seconds: Of one turn, likewise.
            calls_each: Of each caller in one turn, instead of a time.
            after: Called with the open sides when all turns are over.
        """
        done: Turns = {name: [] for name in specs}
        with ExitStack() as stack:
            sides = {name: stack.enter_context(Side(spec)) for name, spec in specs.items()}
            order = list(sides)
            for number in range((self.turns if turns is None else turns) + 1):
                for name in order:
                    turn = sides[name].turn(
                        seconds=self.seconds if seconds is None else seconds, calls_each=calls_each
                    )
                    if number:
                        done[name].append(turn)
                order.reverse()
            if after is not None:
                after(sides)
        return done


def median(turns: list[Turn], of: Callable[[Turn], float]) -> float:
    """The median over the turns of one side."""
    return statistics.median(of(turn) for turn in turns)


def ratio(ours: list[Turn], beside: list[Turn], of: Callable[[Turn], float]) -> float:
    """The median over the pairs of what is ours over the other."""
    pairs = zip(ours, beside, strict=True)
    return round(statistics.median(of(one) / of(other) for one, other in pairs), 3)


def quartiles(ours: list[Turn], beside: list[Turn], of: Callable[[Turn], float]) -> list[float]:
    """The quartiles over the pairs; the same number thrice for a single one."""
    pairs = [of(one) / of(other) for one, other in zip(ours, beside, strict=True)]
    found = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
    return [round(each, 3) for each in found]
