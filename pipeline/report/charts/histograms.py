"""Histograms of declared bins as plain SVG: what was kept and removed, and the cut between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from gristmill.pipeline.look.printing.figures import count, number, short, tick
from gristmill.pipeline.report.charts.drawing import line, polygon, rect, svg, text
from gristmill.pipeline.report.charts.markup import Html

_LEFT, _TOP, _BOTTOM = 2.0, 30.0, 18.0
_AT_BOUND = 0.4  # of a bin that begins at a bound: for the values that are the bound itself
_LETTER = 6.4  # the width of a digit
_TICK_LETTER = 5.6  # and of one below the axis
_TOWERS = 4.0  # a bar this many times as high as the next would flatten all others: it is cut short
_SHORT_OF_TOP = 0.62  # where the next highest bar then ends


def bin_labels(bins: Sequence[float], num_counts: int) -> list[str]:
    """Name every bin: `below` the first edge, between edges, `from` the last on.

    Counts may be one more than the edges (both ends open), as many (the upper end open) or one less (closed).
    """
    between = [f"{number(low)} to {number(high)}" for low, high in pairwise(bins)]
    upper = [f"{number(bins[-1])} and more"]
    if num_counts == len(bins) + 1:
        return [f"below {number(bins[0])}", *between, *upper]
    return between + upper if num_counts == len(bins) else between


def bin_position(value: float, bins: Sequence[float], num_counts: int) -> float:
    """Where a value lies on an axis of equally wide bins, in bins from the left."""
    shift = 1 if num_counts == len(bins) + 1 else 0
    if value < bins[0]:
        return 0.5 * shift
    for index, (low, high) in enumerate(pairwise(bins)):
        if low <= value < high:
            return shift + index + (value - low) / (high - low)
    return float(shift + len(bins) - 1) + (0.5 if value > bins[-1] else 0.0)


def without_empty_ends(
    bins: Sequence[float], series: Sequence[tuple[str, Sequence[float]]], keep: Sequence[float] = ()
) -> tuple[Sequence[float], list[tuple[str, Sequence[float]]]]:
    """Leave out bins at both ends that hold nothing, but for those with a value of `keep`; bins that end open
    stay open."""
    used = [index for index in range(len(series[0][1])) if any(values[index] for _, values in series)]
    if not used or len(series[0][1]) > len(bins):
        return bins, list(series)
    used += [min(int(bin_position(value, bins, len(series[0][1]))), len(bins) - 1) for value in keep]
    start, stop = min(used), max(used) + 1
    edges = bins[start : stop + 1]  # where bins follow, the last shown one has an upper edge
    return edges, [(name, values[start:stop]) for name, values in series]


def histogram(
    title: str,
    bins: Sequence[float],
    series: Sequence[tuple[str, Sequence[float]]],
    cuts: Sequence[float] = (),
    *,
    gone: Sequence[tuple[float, float]] = (),
    left_of: Mapping[float, str] = MappingProxyType({}),
    width: float = 300,
    height: float = 150,
) -> Html:
    """Stacked bars, one per declared bin, with the cuts drawn through; `series` are (CSS class, counts), the
    lowest first.

    Stretches that a bound lets go (`gone`) are tinted. A bound of `left_of` at which a bin begins is drawn
    within it: the named series, whose values are the bound itself, stands to its left. The highest bar tells
    its count; one that towers over all others is drawn broken.
    """
    num = len(series[0][1])
    plot, step = height - _TOP - _BOTTOM, (width - 2 * _LEFT) / num
    floor = _TOP + plot

    inside = {
        value: int(bin_position(value, bins, num))
        for value in left_of
        if value in bins and bin_position(value, bins, num) < num
    }

    def across(value: float) -> float:
        return _LEFT + step * (bin_position(value, bins, num) + (_AT_BOUND if value in inside else 0.0))

    sums = [sum(values[index] for _, values in series) for index in range(num)]
    ceiling = _ceiling(sums)
    labels = bin_labels(bins, num)
    drawn: list[Html] = []
    for low, high in gone:
        left = _LEFT if math.isinf(low) else across(low)
        right = width - _LEFT if math.isinf(high) else across(high)
        drawn.append(rect(left, _TOP, right - left, plot, "gone", radius=0))
    for index in range(num):
        said = f"{labels[index]}: {', '.join(f'{name} {count(values[index])}' for name, values in series)}"
        whole = max(sums[index], ceiling)
        parts = [(name, values[index]) for name, values in series]
        bound = next((value for value, place in inside.items() if place == index), None)
        left = _LEFT + index * step
        if bound is None:
            drawn += _stack(left, floor, step, plot / whole, parts, said)
        else:
            own = [(name, value) for name, value in parts if name == left_of[bound]]
            others = [(name, value) for name, value in parts if name != left_of[bound]]
            wide = _AT_BOUND * step
            drawn += _stack(left, floor, wide, plot / whole, own, said)
            drawn += _stack(left + wide, floor, step - wide, plot / whole, others, said)
    drawn.append(line(_LEFT, floor, width - _LEFT, floor, "axis"))
    drawn += _edges(bins, num, step, height - 5)
    places = [across(cut) for cut in cuts]
    drawn += _cuts([number(cut) for cut in cuts], places, floor, width)
    drawn += _highest(sums, ceiling, step, plot, width, places)
    return svg(width, height, title, *drawn)


def _cuts(labels: Sequence[str], places: Sequence[float], floor: float, width: float) -> list[Html]:
    """The cuts with their numbers beside them, on the side where there is room, below each other where they
    would touch."""
    drawn: list[Html] = []
    taken: list[tuple[float, float]] = []
    for label, x in sorted(zip(labels, places, strict=True), key=lambda pair: pair[1]):
        wide = _LETTER * len(label) + 4
        ends = x + wide > width
        low, high = (x - wide, x) if ends else (x, x + wide)
        y = 10 if not any(low < other[1] and other[0] < high for other in taken) else 20
        taken.append((low, high))
        drawn += [
            line(x, 3, x, floor, "cut"),
            text(x + (-4 if ends else 4), y, label, "cutlabel halo", "end" if ends else "start"),
        ]
    return drawn


def _ceiling(sums: Sequence[float]) -> float:
    """The count that the chart's height stands for."""
    highest, following = [*sorted(sums, reverse=True), 0, 0][:2]
    return following / _SHORT_OF_TOP if following and highest > _TOWERS * following else highest or 1


def _stack(
    x: float, floor: float, step: float, scale: float, parts: Sequence[tuple[str, float]], said: str
) -> list[Html]:
    drawn = []
    for class_, value in parts:
        if value:
            tall = max(scale * value, 1.0)
            floor -= tall
            drawn.append(rect(x + 0.5, floor, step - 1, tall, class_, said, 1))
    return drawn


def _highest(
    sums: Sequence[float],
    ceiling: float,
    step: float,
    plot: float,
    width: float,
    cuts: Sequence[float] = (),
) -> list[Html]:
    """The count of the highest bar above it, and the break in it where it is cut short."""
    if not any(sums):
        return []
    index = max(range(len(sums)), key=lambda place: sums[place])
    left = _LEFT + index * step
    anchor = "start" if left < 24 else "end" if left > width - 40 else "middle"
    x = {"start": left, "middle": left + step / 2, "end": left + step}[anchor]
    wide = _LETTER * len(short(sums[index])) + 2
    low = {"start": x, "middle": x - wide / 2, "end": x - wide}[anchor]
    for cut in cuts:  # the count gives way to the line of a cut
        if low - 3 < cut < low + wide + 3:
            right = cut + 3 + wide < width and cut <= low + wide / 2
            x, anchor = (cut + 4, "start") if right or cut < wide else (cut - 4, "end")
            low = x if anchor == "start" else x - wide
    y = _TOP + 0.16 * plot
    gap = [polygon([(left, y + 3), (left + step, y - 3), (left + step, y + 1), (left, y + 7)], "break")]
    return [
        *(gap if sums[index] > ceiling else []),
        text(x, _TOP - 4, short(sums[index]), "tick halo", anchor),
    ]


def _edges(bins: Sequence[float], num: int, step: float, y: float) -> list[Html]:
    """Label as many bin edges as fit without touching, each as wide as its digits are."""
    shift = 1 if num == len(bins) + 1 else 0
    every = max(1, math.ceil(len(bins) * 40 / (num * step)))
    found: list[Html] = []
    taken = -math.inf
    for index in range(0, len(bins), every):
        x, label = _LEFT + (index + shift) * step, tick(bins[index])
        anchor = "start" if x < _LEFT + 12 else "end" if x > _LEFT + num * step - 12 else "middle"
        left = x - _TICK_LETTER * len(label) * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        if left >= taken:
            found.append(text(x, y, label, "tick", anchor))
            taken = left + _TICK_LETTER * len(label) + 3
    return found
