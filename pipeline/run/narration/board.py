"""The live table of a run on a terminal: steps with what they came to, and how far the one at work is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

_ROOM = 4  # lines of the terminal that stay free
_WIDEST = 100


class Board:
    """The steps of a run, in order, each waiting, at work or done."""

    def __init__(self, steps: Sequence[str] = ()) -> None:
        self.steps = list(steps)
        self.ends: dict[str, tuple[str, int | None]] = {}
        self.title = ""

    def begin(self, title: str) -> None:
        """A phase of a step is at work; its title is the step's name and its own."""
        self.title = title

    def end(self, step: str, said: str, kept: int | None) -> None:
        """A step is done."""
        self.ends[step] = (said, kept)

    def drawn(self, said: str) -> str:
        """Return the table with what the phase at work says; as many rows as the terminal has room for."""
        size = shutil.get_terminal_size((80, 24))
        wide = max(map(len, self.steps))
        at = self.title.partition(" ")
        rows, now = [], 0
        for number, step in enumerate(self.steps):
            if step in self.ends:
                took, kept = self.ends[step]
                shown = f"{took:>12}" + ("" if kept is None else f"  {kept:,} documents")
                rows.append(f"  ✓ {step:<{wide}} {shown}")
            elif step == at[0]:
                now = number
                rows.append(f"  ▸ {step:<{wide}}  {at[2]}: {said}")
            else:
                rows.append(f"  · {step:<{wide}}")
        return "\n".join(
            row[: min(size.columns, _WIDEST) - 1] for row in _around(rows, now, size.lines - _ROOM)
        )


def _around(rows: list[str], now: int, room: int) -> list[str]:
    """Those rows around the one at work that there is room for, with the number of the others."""
    if len(rows) <= max(3, room):
        return rows
    inner = max(1, room - 2)
    first = min(max(0, now - inner // 2), len(rows) - inner)
    last = first + inner
    above = [f"  ✓ {first} steps above"] if first else []
    below = [f"  · {len(rows) - last} steps below"] if last < len(rows) else []
    return [*above, *rows[first:last], *below]
