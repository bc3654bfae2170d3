"""Charts as plain SVG: sized by a viewBox, coloured by the page's CSS classes, each value told by a
<title>."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gristmill.pipeline.look.printing.figures import count, share, short
from gristmill.pipeline.report.charts.markup import Html, tag


def svg(width: float, height: float, label: str, *children: object, class_: str = "chart") -> Html:
    box = f"0 0 {at(width)} {at(height)}"
    return tag(
        "svg", tag("title", label), *children, viewBox=box, role="img", aria_label=label, class_=class_
    )


def text(x: float, y: float, content: object, class_: str = "label", anchor: str = "start") -> Html:
    return tag("text", content, x=at(x), y=at(y), class_=class_, text_anchor=anchor)


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    class_: str,
    title: str | None = None,
    radius: float = 1.5,
) -> Html:
    shape = {
        "x": at(x),
        "y": at(y),
        "width": at(max(width, 0)),
        "height": at(max(height, 0)),
        "rx": at(radius),
        "class_": class_,
    }
    return tag("rect", tag("title", title), **shape) if title else tag("rect", **shape)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag("line", x1=at(x1), y1=at(y1), x2=at(x2), y2=at(y2), class_=class_)


def polygon(corners: Sequence[tuple[float, float]], class_: str) -> Html:
    return tag("polygon", points=" ".join(f"{at(x)},{at(y)}" for x, y in corners), class_=class_)


def at(value: float) -> str:
    """A coordinate with at most one decimal: charts stay small."""
    return f"{value:.1f}".removesuffix(".0")


def bar(
    part: float,
    whole: float,
    class_: str = "kept",
    *,
    within: float | None = None,
    mark: float | None = None,
    width: float = 120,
) -> Html:
    """A bar inside a table cell; `within` is drawn pale behind it, `mark` as a line, both on the same
    scale."""

    def wide(value: float) -> float:
        return max(width * value / whole, 1.5 if value else 0) if whole else 0

    body = [rect(0, 2, width, 8, "track", radius=2)]
    if within is not None:
        body.append(rect(0, 2, wide(within), 8, f"{class_} pale", radius=2))
    body.append(rect(0, 2, wide(part), 8, class_, radius=2))
    if mark is not None:
        body.append(line(wide(mark), 0, wide(mark), 12, "mark"))
    return svg(width, 12, share(part, whole), *body, class_="bar" if width >= 120 else "bar small")


def columns(
    title: str, rows: Sequence[tuple[str, float]], *, width: float = 300, height: float = 140
) -> Html:
    """Vertical bars by name, for years and cluster sizes."""
    top, bottom = 16.0, 18.0
    step = min(56.0, width / max(1, len(rows)))
    highest = max((value for _, value in rows), default=0) or 1
    every = max(1, math.ceil(38 / step))
    drawn = [line(0, height - bottom, width, height - bottom, "axis")]
    for index, (name, value) in enumerate(rows):
        tall = (height - top - bottom) * value / highest
        x = index * step
        drawn.append(rect(x + 1.5, height - bottom - tall, step - 3, tall, "kept", f"{name}: {count(value)}"))
        if index % every == 0:
            drawn.append(text(x + step / 2, height - 5, name, "tick", "middle"))
        if step >= 36 or value == highest:
            drawn.append(text(x + step / 2, height - bottom - tall - 4, short(value), "tick", "middle"))
    return svg(width, height, title, *drawn)
