"""Write the chosen blocks as Markdown: headings, nested and numbered lists, tables, fenced code, quotes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.rendering import MAX_CELL_WORDS, list_item, same_row
from gristmill.pipeline.extract.blocks.structure.data_tables import Table
from gristmill.pipeline.extract.blocks.structure.inline import Stash
from gristmill.pipeline.extract.blocks.structure.listings import Listing
from gristmill.pipeline.extract.blocks.structure.regions import Region
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized

_LI, _OL, _H1, _H6 = (T.ID[name] for name in ("li", "ol", "h1", "h6"))
_MAX_INDENT = 30  # levels of lists; deeper items stand there
_TICKS = re.compile(r"`{3,}")


def markdown(
    tokenized: Tokenized, kept: npt.NDArray[np.bool_], regions: Sequence[Region], stash: Stash
) -> str:
    """Return the kept blocks; what `stash` holds back is still to be put in."""
    return _Writer(tokenized, kept, regions, stash).write()


def fenced(listing: Listing) -> list[str]:
    """Return code between fences longer than any run of backticks in it."""
    longest = max((len(run) for run in _TICKS.findall(listing.text)), default=2)
    fence = "`" * max(longest + 1, 3)
    return ["", fence + listing.language, listing.text, fence, ""]


def table_lines(table: Table) -> list[str]:
    """Return a table's rows between pipes, the first one as its head; a head of blanks where it has none is
    not made up."""
    lines = ["", table.caption, ""] if table.caption else [""]
    for number, row in enumerate(table.rows):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        if number == 0:
            lines.append("|" + " --- |" * len(row))
    return [*lines, ""]


class _Writer:
    """Goes over the kept blocks and appends lines."""

    def __init__(
        self,
        tokenized: Tokenized,
        kept: npt.NDArray[np.bool_],
        regions: Sequence[Region],
        stash: Stash,
    ) -> None:
        self._data = tokenized.text.tobytes()
        self._blocks, self._elements = tokenized.blocks, tokenized.elements
        self._kept = np.flatnonzero(kept).tolist()
        self._regions = {region.first: region for region in regions}
        self._stash = stash
        self._lines: list[str] = []
        self._item_before = 0
        self._row: list[str] = []  # cells of the row being written
        self._table_before = 0
        self._ordinals: dict[int, int] = {}
        self._depths: dict[int, int] = {}

    def write(self) -> str:
        skip_to, previous = 0, -1
        for position, b in enumerate(self._kept):
            if b < skip_to:
                continue
            if region := self._regions.get(b):
                self._end_row()
                content = region.content
                lines = fenced(content) if isinstance(content, Listing) else table_lines(content)
                self._lines += [lines[0], self._stash.hold("\n".join(lines[1:-1])), ""]
                skip_to, previous, self._item_before, self._table_before = region.end, -1, 0, 0
                continue
            after = self._kept[position + 1] if position + 1 < len(self._kept) else -1
            self._block(b, previous, after)
            previous = b
        self._end_row()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines)).strip("\n")

    def _block(self, b: int, previous: int, after: int) -> None:
        row = self._blocks[b]
        text = self._stash.text(self._data, int(row[L.START]), int(row[L.END]))
        element = int(row[L.ELEMENT])
        context, tag = int(self._elements[element, L.CONTEXT]), int(self._elements[element, L.TAG])
        if self._row and previous >= 0 and same_row(self._blocks, self._elements, previous, b):
            self._row.append(text)
            return
        self._end_row()
        item = int(list_item(self._elements, np.int64(element)))
        cell = int(self._elements[element, L.CELL])
        if context & T.PRE or row[L.FLAGS] & L.IS_VERBATIM:
            lines = fenced(Listing(text))
            self._lines += [
                lines[0],
                self._stash.hold("\n".join(lines[1:-1])) if "\x02" not in text else text,
                "",
            ]
        elif context & T.HEADING and _H1 <= tag <= _H6:
            self._lines += ["", "#" * (tag - _H1 + 1) + " " + text.replace("\n", " "), ""]
        elif item:
            self._list_item(item, text)
        elif self._begins_row(b, cell, after):
            table = int(self._elements[self._elements[cell, L.PARENT], L.PARENT])
            if table != self._table_before:
                self._lines.append("")
            self._table_before, self._row = table, [text]
        elif context & T.QUOTE:
            self._lines += ["", "> " + text.replace("\n", "\n> "), ""]
        else:
            self._lines += ["", text, ""]
        self._item_before = item

    def _begins_row(self, b: int, cell: int, after: int) -> bool:
        return (
            cell > 0
            and after >= 0
            and after not in self._regions
            and self._blocks[b, L.WORDS] <= MAX_CELL_WORDS
            and bool(same_row(self._blocks, self._elements, b, after))
        )

    def _end_row(self) -> None:
        """Write short cells of a layout table that stand side by side on a line of their own."""
        if self._row:
            self._lines += ["", "\t".join(text.replace("\n", " ") for text in self._row), ""]
            self._row = []

    def _list_item(self, item: int, text: str) -> None:
        depth, ordered = self._list_place(item)
        first = item != self._item_before
        if first and self._item_before == 0:
            self._lines.append("")
        mark = f"{ordered}." if ordered else "-"
        self._lines.append(
            "  " * depth + (f"{mark} " if first else "  ") + text.replace("\n", "\n" + "  " * (depth + 1))
        )

    def _list_place(self, item: int) -> tuple[int, int]:
        """Return (depth of nesting, number in an ordered list or 0) of a list item."""
        parent = int(self._elements[item, L.PARENT])
        number = 0
        if self._elements[parent, L.TAG] == _OL:
            if not self._ordinals:
                self._number_items()
            number = self._ordinals.get(item, 0)
        return min(self._depth(parent), _MAX_INDENT), number

    def _number_items(self) -> None:
        """Number the items of each list."""
        items = np.flatnonzero(self._elements[:, L.TAG] == _LI)
        seen: Counter[int] = Counter()
        for item, parent in zip(items.tolist(), self._elements[items, L.PARENT].tolist(), strict=True):
            seen[parent] += 1
            self._ordinals[item] = seen[parent]

    def _depth(self, element: int) -> int:
        """Return how many list items an element lies in, itself among them."""
        path = []
        while element > 0 and element not in self._depths:
            path.append(element)
            element = int(self._elements[element, L.PARENT])
        depth = self._depths.get(element, 0)
        for element in reversed(path):
            depth += int(self._elements[element, L.TAG] == _LI)
            self._depths[element] = depth
        return depth
