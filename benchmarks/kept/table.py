"""The table of the pages, made from the runs that are kept."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kept.results import Figure, Run
from benchmarks.kept.texts import busy_words, figure_cell

__all__ = ["DRAWN", "replaced", "table"]

_BEGIN = "<!-- python -m benchmarks.table writes {} -->"
_END = "<!-- the end of {} -->"
#: Rows that are pictures, not lines of the table.
DRAWN = frozenset({"by-size", "by-in-flight"})

_NOTHING = "No run is kept: `python -m benchmarks --keep` makes one.\n"


def table(runs: Sequence[Run]) -> str:
    """What stands between the two marks of a page; a column for each run."""
    if not runs:
        return _NOTHING
    lines = [" ".join(_told(run) for run in runs), ""]
    lines.append("| | " + " | ".join(f"RabbitMQ {run.rabbitmq}" for run in runs) + " |")
    lines.append("|---" * (len(runs) + 1) + "|")
    for name, what in _names(runs).items():
        cells = [_cell(run, name) for run in runs]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def replaced(page: str, what: str, text: str) -> str:
    """
    The page with another text between two marks.

    Args:
        page: The whole page.
        what: The name in the marks.
        text: What is to stand between them.

    Raises:
        ValueError: When it does not have both marks, once each and in order.
    """
    begin, end = _BEGIN.format(what), _END.format(what)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or begin in after or end in after:
        raise ValueError(f"the page has not, once each and in this order, {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def _told(run: Run) -> str:
    machine, how = run.machine, run.how
    postgres = run.versions.get("postgresql")
    beside = f", PostgreSQL {postgres}" if postgres else ""
    loop = ", both sides on uvloop" if how.get("uvloop") else ""
    busy = busy_words(how)
    return (
        f"{run.date[:10]}, RabbitMQ {run.rabbitmq}{beside} and both sides on {machine['cores']} "
        f"cores ({machine['cpu']}, {machine['memory_gib']} GiB), Python {run.versions['python']}, "
        f"aio-pika {run.versions['aio-pika']}, medians of {how['turns']} turns{loop}{busy}."
    )


def _names(runs: Sequence[Run]) -> dict[str, str]:
    """The figures of all runs by name, each once, with what was measured."""
    figures = (figure for run in runs for figure in run.figures)
    return {figure.name: figure.what for figure in figures if figure.row not in DRAWN}


def _cell(run: Run, name: str) -> str:
    found: Figure | None = next((each for each in run.figures if each.name == name), None)
    return figure_cell(found) if found is not None else ""
