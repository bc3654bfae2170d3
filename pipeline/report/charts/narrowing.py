"""The funnel drawn: a row per stage, and beside each other what is left in documents, bytes of text and
tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.pipeline.report.charts.drawing import polygon, rect, svg, text
from gristmill.pipeline.report.charts.markup import Html

_BAR, _PITCH, _TEXT = 14.0, 50.0, 15.0  # a bar's height, a row's, and of the line of text above the bar


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is left, as a number and spelled out; `lost` are CSS class, name, how much and that spelled,
    of what left here."""

    value: float
    spelled: str
    lost: Sequence[tuple[str, str, float, str]] = ()

    @property
    def before(self) -> float:
        return self.value + sum(value for _, _, value, _ in self.lost)


@dataclass(frozen=True, slots=True)
class Column:
    """One measure of every stage; None where a stage has none."""

    title: str
    amounts: Sequence[Amount | None]


def funnel(names: Sequence[str], columns: Sequence[Column]) -> Html:
    """All measures side by side, a row per stage."""
    width, left, gap = 1000.0, 112.0, 30.0
    room = (width - left - gap * (len(columns) - 1)) / len(columns)
    drawn = [text(0, 24 + row * _PITCH + _TEXT + _BAR - 2, name, "name") for row, name in enumerate(names)]
    for index, column in enumerate(columns):
        x = left + index * (room + gap)
        drawn.append(text(x, 12, column.title, "head"))
        drawn += _column(column, x, 24, room, [""] * len(names))
    return svg(width, 24 + len(names) * _PITCH, "What is left after every stage", *drawn, class_="chart wide")


def narrow_funnel(names: Sequence[str], column: Column) -> Html:
    """One measure alone with the names above its bars, for phones."""
    rows = [(name, amount) for name, amount in zip(names, column.amounts, strict=True) if amount]
    shown = Column(column.title, [amount for _, amount in rows])
    drawn = _column(shown, 0, 24, 340, [name for name, _ in rows])
    title = text(0, 12, column.title, "head")
    return svg(
        340,
        24 + len(rows) * _PITCH,
        f"{column.title} left after every stage",
        title,
        *drawn,
        class_="chart narrow",
    )


def _column(column: Column, left: float, top: float, room: float, names: Sequence[str]) -> list[Html]:
    highest = max((amount.before for amount in column.amounts if amount), default=0) or 1
    drawn: list[Html] = []
    before: float | None = None
    for row, amount in enumerate(column.amounts):
        if amount is None:
            before = None
            continue
        y = top + row * _PITCH + _TEXT
        wide = max(room * amount.value / highest, 1.5)
        if before is not None:
            above = y - _PITCH + _BAR
            drawn.append(
                polygon([(left, above), (left + before, above), (left + wide, y), (left, y)], "flow")
            )
        before = wide
        drawn.append(rect(left, y, wide, _BAR, "kept", f"{amount.spelled} left", 2))
        x = left + wide + 1
        for class_, name, value, spelled in amount.lost:
            lost = max(room * value / highest, 1.5) if value else 0
            if lost:
                drawn.append(rect(x, y, lost - 1, _BAR, f"{class_} ghost", f"{spelled} {name}", 2))
                x += lost
        drawn += _words(amount, left, y - 4, room, names[row])
    return drawn


def _words(amount: Amount, left: float, y: float, room: float, name: str) -> list[Html]:
    """The line above a bar: what is left, and in smaller print what left here."""
    lost = " · ".join(f"−{spelled} {called}" for _, called, value, spelled in amount.lost if value)
    if name:
        return [text(left, y, name, "name"), text(left + room, y, amount.spelled, "value", "end")]
    shown = [text(left, y, amount.spelled, "value")]
    return [*shown, text(left + 10 + 8.2 * len(amount.spelled), y, lost, "loss")] if lost else shown
