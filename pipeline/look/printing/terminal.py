"""Plain words on a terminal: 80 columns, colour only where it is wanted, nothing from a document that the
terminal obeys."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gristmill.files.inside import inert
from gristmill.pipeline.look.printing.figures import number, one_line

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "struck": "9;31"}
MOST_COLUMNS = 100
_COPIED = ("url", "file", "shard", "survivor")


class Paper:
    """What is printed on: knows its width and whether colour is welcome (a terminal, and NO_COLOR unset)."""

    def __init__(self, *, colour: bool | None = None) -> None:
        self.colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") if colour is None else colour
        self.width = (
            min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS) if sys.stdout.isatty() else 80
        )

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colour else text

    def wrap(self, text: str, indent: str = "  ") -> Iterator[str]:
        """Wrap a text made inert; its own line ends stay."""
        for line in inert(text).split("\n"):
            yield from textwrap.wrap(
                line, self.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
            ) or [""]


def facts(paper: Paper, values: Mapping[str, Any], indent: str = "    ") -> Iterator[str]:
    """One `name  value` line each; long values are cut to the width, but what people copy stays whole."""
    wide = max((len(name) for name in values), default=0)
    for name, value in values.items():
        room = None if name in _COPIED else max(20, paper.width - len(indent) - wide - 2)
        shown = number(value) if isinstance(value, float) else one_line(str(value), room)
        yield f"{indent}{paper.paint(name.ljust(wide), 'dim')}  {shown}"


def rows(
    paper: Paper,
    head: Sequence[str],
    lines: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    indent: str = "",
) -> Iterator[str]:
    """A table as wide as it must be; the widest column gives way until it fits."""
    cells = [[one_line(cell) for cell in line] for line in (head, *lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    room = paper.width - len(indent) - 2 * (len(head) - 1)
    while sum(widths) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    for index, line in enumerate(cells):
        parts = []
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            shown = one_line(cell, width)
            parts.append(shown.rjust(width) if column in right else shown.ljust(width))
        text = f"{indent}{'  '.join(parts)}".rstrip()
        yield paper.paint(text, "dim") if index == 0 else text
