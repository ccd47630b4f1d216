"""Large payloads: contexts of 64 KiB, and of a megabyte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.rows.pairs import throughput
from benchmarks.sides.spec import Answer, Kind

__all__ = ["contexts", "megabytes"]

_64K = 64 * 1024
_1M = 1_000_000


@dataclass(frozen=True)
class _Case:
    """What our side does, and what plain answers meanwhile."""

    name: str
    kind: Kind
    answer: Answer
    what: str
    required: str = ""
    attachments: str = "none"


def _figures(
    bench: Bench, row: str, size: int, in_flight: int, cases: Sequence[_Case]
) -> Iterator[Figure]:
    common: dict[str, Any] = {"body_bytes": size, "in_flight": in_flight, "prefetch": in_flight}
    sides = {
        case.name: bench.spec(kind=case.kind, attachments=case.attachments, **common)
        for case in cases
    }
    for answer in {case.answer for case in cases}:
        sides[answer] = bench.spec(side="plain", answer=answer, **common)
    turns = bench.compare(sides)
    for case in cases:
        yield throughput(
            turns,
            case.name,
            case.answer,
            row=row,
            what=case.what,
            spec=sides[case.name],
            required=case.required,
        )


def contexts(bench: Bench) -> Iterator[Figure]:
    """64 KiB, 100 in flight."""
    return _figures(
        bench,
        "64k",
        _64K,
        100,
        (
            _Case(
                "model",
                "model",
                "small",
                "64 KiB context of a model call, small answer, 100 in flight",
                "≥ 0.7",
            ),
            _Case(
                "tool",
                "tool",
                "small",
                "64 KiB argument of a tool, small result, 100 in flight; our outcome has the "
                "argument again, plain's answer has not",
            ),
            _Case(
                "echo",
                "echo",
                "same",
                "64 KiB both ways, 100 in flight; thrice in our outcome, once in plain's answer",
                "≥ 0.5",
            ),
        ),
    )


def megabytes(bench: Bench) -> Iterator[Figure]:
    """1 MB, 20 in flight; also with an attachment store in a directory."""
    return _figures(
        bench,
        "1m",
        _1M,
        20,
        (
            _Case(
                "model",
                "model",
                "small",
                "1 MB context of a model call, small answer, 20 in flight",
                "≥ 0.5",
            ),
            _Case(
                "store",
                "model",
                "small",
                "the same with an attachment store in a directory; plain has it in the message",
                "≥ 1.0",
                bench.store(),
            ),
            _Case(
                "tool",
                "tool",
                "small",
                "1 MB argument of a tool, small result, 20 in flight; our outcome has the argument "
                "again, plain's answer has not",
            ),
        ),
    )
