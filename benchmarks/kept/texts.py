"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.kept.results import Figure

__all__ = ["busy_words", "figure_cell", "figure_line"]

#: The sign of multiplication.
_TIMES = "\u00d7"
#: Processes that run or wait to, on a machine that does nothing else.
_QUIET = 0.8


def busy_words(how: Mapping[str, Any]) -> str:
    """What a run says when the machine did other work; empty when it did not."""
    load = how.get("load_before", 0)
    return f", the machine busy with other work (load {load:g})" if load > _QUIET else ""


def figure_line(figure: Figure) -> str:
    """A figure with what it is, and whether it is what it should be."""
    wanted = f"  [required {figure.required}]" if figure.required else ""
    missed = "  NOT YET" if figure.fits is False else ""
    return f"{figure.what}: {figure_cell(figure)}{wanted}{missed}"


def figure_cell(figure: Figure) -> str:
    """A figure with what it is made of: how many times as much, then (1,310 to 567 a second)."""
    value = f"{_number(figure.value)}{_TIMES if figure.unit == 'times' else f' {figure.unit}'}"
    if figure.ours is None or figure.beside is None:
        return value
    return f"{value} ({_number(figure.ours)} to {_number(figure.beside)} {figure.per})"


def _number(value: float) -> str:
    """Three digits, more only where they are whole ones."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
