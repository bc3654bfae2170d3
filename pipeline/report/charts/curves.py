"""Curves over one axis as plain SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.pipeline.look.printing.figures import tick as spell
from gristmill.pipeline.report.charts.drawing import at, line, svg, text
from gristmill.pipeline.report.charts.markup import Html, tag

Point = tuple[float, float]
_LEFT, _RIGHT, _TOP, _BOTTOM = 38.0, 8.0, 10.0, 32.0


@dataclass(frozen=True, slots=True)
class Line:
    """A named curve; `class_` picks its colour."""

    name: str
    points: Sequence[Point]
    class_: str = "s0"


def lines(
    title: str,
    curves: Sequence[Line],
    x_name: str,
    *,
    width: float = 300,
    height: float = 180,
    low: float | None = None,
    dots: bool = False,
) -> Html:
    """Curves over one axis, with few round ticks; `low` is a value that the other axis must reach down to."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return svg(width, 40, title, text(4, 24, "nothing logged yet"))
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_low, x_high = min(xs), max(xs)
    y_ticks = round_ticks(min(ys) if low is None else min(low, *ys), max(ys))
    y_low, y_high = y_ticks[0], max(y_ticks[-1], max(ys))

    def place(x: float, y: float) -> Point:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low) if y_high > y_low else 0.5
        return _LEFT + across * (width - _LEFT - _RIGHT), height - _BOTTOM - up * (height - _TOP - _BOTTOM)

    drawn: list[Html] = []
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        drawn += [
            line(_LEFT, y, width - _RIGHT, y, "grid"),
            text(_LEFT - 6, y + 4, spell(tick), "tick", "end"),
        ]
    for tick in [tick for tick in round_ticks(x_low, x_high, 4) if x_low <= tick <= x_high]:
        x = place(tick, y_low)[0]
        drawn.append(
            text(x, height - _BOTTOM + 14, spell(tick), "tick", "end" if x > width - 20 else "middle")
        )
    drawn.append(text((_LEFT + width - _RIGHT) / 2, height - 4, x_name, "tick", "middle"))
    for curve in curves:
        placed = [place(*point) for point in curve.points]
        if dots or len(placed) == 1:
            drawn += [
                tag("circle", cx=at(x), cy=at(y), r="2.6", class_=f"dot {curve.class_}") for x, y in placed
            ]
        path = "".join(f"{'M' if index == 0 else 'L'}{at(x)} {at(y)}" for index, (x, y) in enumerate(placed))
        drawn.append(tag("path", tag("title", curve.name), d=path, class_=f"curve {curve.class_}"))
    return svg(width, height, f"{title} by {x_name}", *drawn)


def thin(points: Sequence[Point], most: int = 400) -> list[Point]:
    """Keep at most `most` points of a curve: of each stretch the mean, and the last point as it is."""
    if len(points) <= most:
        return list(points)
    stretch = len(points) / most
    kept = []
    for index in range(most):
        part = points[int(index * stretch) : max(int(index * stretch) + 1, int((index + 1) * stretch))]
        kept.append((part[-1][0], sum(y for _, y in part) / len(part)))
    return [*kept[:-1], points[-1]]


def round_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round numbers from at most `low` to around `high`."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    magnitude: float = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first = math.floor(low / step)
    return [round((first + index) * step, 12) for index in range(math.ceil(high / step - first) + 1)]
