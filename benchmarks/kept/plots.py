"""Lines over a logarithmic axis, as SVG that is read in the light and in the dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.kept.results import Run

__all__ = ["Line", "Plot", "by_in_flight", "by_size"]

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 52, 48
_STEPS = 5
_NAME_HEIGHT = 16
#: Between two lines of the grid, times a power of ten.
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)

_STYLE = """
    .back { fill: #f5f7fa } .text { fill: #1b2733 } .faint { fill: #4b5a68 }
    .grid { stroke: #d4dbe3 } .line0, .line1 { fill: none; stroke-width: 2.5 }
    .line0 { stroke: #3f51b5 } .dot0, .name0 { fill: #3f51b5 }
    .line1 { stroke: #a85b00; stroke-dasharray: 6 4 } .dot1, .name1 { fill: #a85b00 }
    @media (prefers-color-scheme: dark) {
      .back { fill: #1d242c } .text { fill: #eef1f5 } .faint { fill: #aab6c2 }
      .grid { stroke: #36424e }
      .line0 { stroke: #9fa8ff } .dot0, .name0 { fill: #9fa8ff }
      .line1 { stroke: #ffb74d } .dot1, .name1 { fill: #ffb74d }
    }
  """


@dataclass(frozen=True)
class Line:
    """One line: its name, and its points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """
    A picture of one or two lines.

    Attributes:
        title: What it shows; ``about`` says it to whoever cannot see it.
        ticks: Where the axis at the bottom has a mark, each with its word.
    """

    title: str
    about: str
    below: str
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]

    def svg(self) -> str:
        """The whole file."""
        return "\n".join(self._parts()) + "\n"

    def _parts(self) -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" role="img" font-size="13" '
            "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif\">"
        )
        yield f"  <title>{self.title}</title>"
        yield f"  <desc>{self.about}</desc>"
        yield f"  <style>{_STYLE}</style>"
        yield f'  <rect class="back" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        yield f'  <text class="text" x="20" y="30" font-size="15">{self.title}</text>'
        yield from self._axes()
        ends = [self._y(line.points[-1][1]) for line in self.lines]
        for number, line in enumerate(self.lines):
            yield from self._drawn(number, line, _apart(ends, number))
        yield "</svg>"

    def _axes(self) -> Iterator[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for step in range(_STEPS + 1):
            value = self._most * step / _STEPS
            y = self._y(value)
            yield f'  <path class="grid" d="M{_LEFT} {y}H{right}"/>'
            yield (
                f'  <text class="faint" x="{_LEFT - 8}" y="{y + 4:g}" text-anchor="end">'
                f"{value:,.0f}</text>"
            )
        for value, word in self.ticks:
            x = self._x(value)
            yield f'  <path class="grid" d="M{x} {bottom}v5"/>'
            yield (
                f'  <text class="faint" x="{x}" y="{bottom + 19}" text-anchor="middle">{word}'
                "</text>"
            )
        middle = (_LEFT + right) / 2
        yield (
            f'  <text class="faint" x="{middle:g}" y="{_HEIGHT - 8}" text-anchor="middle">'
            f"{self.below}</text>"
        )

    def _drawn(self, number: int, line: Line, name_y: float) -> Iterator[str]:
        places = [(self._x(x), self._y(y)) for x, y in line.points]
        path = "L".join(f"{x} {y}" for x, y in places)
        yield f'  <path class="line{number}" d="M{path}"/>'
        for (x, y), (_, value) in zip(places, line.points, strict=True):
            yield (
                f'  <circle class="dot{number}" cx="{x}" cy="{y}" r="4"><title>{line.name}: '
                f"{value:,.0f} a second</title></circle>"
            )
        yield (
            f'  <text class="name{number}" x="{places[-1][0] + 10:g}" y="{name_y + 4:g}">'
            f"{line.name}</text>"
        )

    @property
    def _most(self) -> float:
        """The top of the axis: a round number above all points."""
        most = max(y for line in self.lines for _, y in line.points)
        unit = 10 ** math.floor(math.log10(most / _STEPS))
        step = next(each * unit for each in _ROUND if each * unit * _STEPS >= most)
        return step * _STEPS

    def _x(self, value: float) -> float:
        values = [x for line in self.lines for x, _ in line.points]
        low, high = math.log(min(values)), math.log(max(values))
        part = (math.log(value) - low) / ((high - low) or 1)
        return round(_LEFT + 12 + part * (_WIDTH - _RIGHT - _LEFT - 24), 1)

    def _y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / self._most * (_HEIGHT - _BOTTOM - _TOP), 1)


def by_size(run: Run) -> Plot:
    """Throughput by the size of a context."""
    return _plot(
        run,
        "by-size",
        "body_bytes",
        f"Round trips a second by payload size, 20 in flight, RabbitMQ {run.rabbitmq}",
        "size of the request",
        _size,
    )


def by_in_flight(run: Run) -> Plot:
    """Throughput by how many are in flight."""
    return _plot(
        run,
        "by-in-flight",
        "in_flight",
        f"Round trips a second by calls in flight, 1 KiB, RabbitMQ {run.rabbitmq}",
        "calls in flight",
        lambda value: f"{value:,}",
    )


def _plot(
    run: Run, row: str, over: str, title: str, below: str, word: Callable[[int], str]
) -> Plot:
    found = sorted(
        (figure.shape[over], figure.ours or 0.0, figure.beside or 0.0)
        for figure in run.figures
        if figure.row == row
    )
    ours = Line("effectmq", [(x, y) for x, y, _ in found])
    plain = Line("plain aio-pika", [(x, y) for x, _, y in found])
    said = "; ".join(f"{word(x)}: {one:,.0f} to {other:,.0f}" for x, one, other in found)
    about = f"effectmq to plain aio-pika, in round trips a second. {said}."
    return Plot(title, about, below, [(x, word(x)) for x, _, _ in found], [ours, plain])


def _size(count: int) -> str:
    return f"{count // 1024} KiB" if count % 1024 == 0 else f"{count / 1e6:g} MB"


def _apart(ends: Sequence[float], number: int) -> float:
    """Where the name of a line stands, so that two that end side by side can be read."""
    if len(ends) < 2 or abs(ends[0] - ends[1]) >= _NAME_HEIGHT:
        return ends[number]
    middle = sum(ends) / len(ends)
    upper = ends[number] < ends[1 - number] or (ends[0] == ends[1] and number == 0)
    return middle + (-_NAME_HEIGHT if upper else _NAME_HEIGHT) / 2
