"""What needs a person: a sentence for each thing that does not mend itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from effectmq.broker.queues.reports import QueueReport, QueuesSeen
from effectmq.broker.store.journal.archive.statistics import JournalStats
from effectmq.broker.store.letters.index import Facets
from effectmq.protocol.text import printable

__all__ = ["attention_of"]

#: Fewer settled effects say nothing about how many fail.
_ENOUGH = 10
_FAILING = 0.2
_HALF = 0.5

_Told = dict[str, str | None]


def attention_of(
    seen: QueuesSeen | None,
    stats: JournalStats | None,
    facets: Facets | None,
    rows: Sequence[Mapping[str, Any]],
    away: Mapping[str, str],
) -> list[_Told]:
    """
    What needs a person, the worst first.

    Args:
        seen: Queues and workers; ``None`` while the broker is away.
        stats: The journal in numbers; ``None`` while it is away.
        facets: Dead letters by what; ``None`` when they are not known.
        rows: The routes, as the overview has them.
        away: What is away, and why.
    """
    told = [_told("away", "error", sentence) for sentence in dict.fromkeys(away.values())]
    if seen is not None:
        told += _of_queues(seen.queues)
        told += _of_workers(seen.silent)
    told += _of_routes(rows)
    told += _of_letters(facets)
    told += _of_journal(stats)
    return sorted(told, key=lambda each: each["level"] != "error")


def _of_queues(queues: Iterable[QueueReport]) -> Iterable[_Told]:
    for each in queues:
        if each.consumers or not each.ready or each.paused is not None:
            continue
        if each.role == "work":
            yield _told(
                "no_consumer",
                "error",
                f"{each.ready} effects wait for {each.route} and no worker takes them; start one",
                each.route,
            )
        elif each.role == "limbo":
            yield _told(
                "limbo",
                "error",
                f"{each.ready} effects are in limbo, where the broker puts what it gave up on, "
                "and no worker looks there; start one",
            )


def _of_workers(silent: int) -> Iterable[_Told]:
    if silent:
        yield _told(
            "silent_workers",
            "warning",
            f"{silent} workers consume and do not answer: they are stuck, cut off, or of "
            "an older release",
        )


def _of_routes(rows: Iterable[Mapping[str, Any]]) -> Iterable[_Told]:
    for row in rows:
        if row["paused"] is not None:
            pause = row["paused"]
            by = f" by {printable(pause['by'], 100)}" if pause["by"] else ""
            why = f": {printable(pause['why'], 200)}" if pause["why"] else ""
            yield _told(
                "paused",
                "warning",
                f"{row['route']} is paused{by}{why}; resume it when that is over",
                row["route"],
            )
        share, settled = row["failing"], sum(row["history"])
        if share is not None and settled >= _ENOUGH and share >= _FAILING:
            yield _told(
                "failing",
                "error" if share >= _HALF else "warning",
                f"{share:.0%} of the last {settled} effects of {row['route']} failed; look at them "
                "and at what they call",
                row["route"],
            )


def _of_letters(facets: Facets | None) -> Iterable[_Told]:
    if facets is None or not facets.letters:
        return
    reasons = ", ".join(
        f"{count} {printable(reason, 40)}"
        for reason, count in list(facets.counts["reason"].items())[:3]
    )
    letters = (
        "1 dead letter waits" if facets.letters == 1 else f"{facets.letters} dead letters wait"
    )
    yield _told(
        "dead_letters", "warning", f"{letters} for somebody to replay, edit or purge ({reasons})"
    )


def _of_journal(stats: JournalStats | None) -> Iterable[_Told]:
    if stats is None:
        return
    if stats.unheld:
        yield _told(
            "unheld",
            "warning",
            f"{stats.unheld} effects in progress have no worker: theirs died or left, and another "
            "takes them over when their message comes to it",
        )
    if stats.letters_unsent:
        yield _told(
            "letters_unsent",
            "warning",
            f"{stats.letters_unsent} effects were given up and their dead letters may not be out; "
            "a worker sends them when it sees the effects again",
        )


def _told(code: str, level: str, sentence: str, route: str | None = None) -> _Told:
    return {"code": code, "level": level, "route": route, "sentence": sentence}
