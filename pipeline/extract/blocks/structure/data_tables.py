"""Tables of data as rows of cells; tables that only lay a page out are none.

`find` takes a table's markup and returns its rows with row and column spans filled in, each cell a line of
inline markup that `inline` writes; None for a layout table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gristmill.pipeline.extract.blocks.structure.elements import Node
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds, parse

MAX_BYTES = 1_000_000  # of markup
_MAX_SPAN, _MAX_CELLS = 200, 50_000
# Cells of the grid for a table's cells, and for each of them: spans and rows of unlike lengths take no more.
_FREE_CELLS, _CELLS_EACH = 1000, 64
_FREE_CHARS, _CHARS_EACH = 2000, 8  # characters of the grid, likewise, for those of the table
_MAX_NUMBER_CHARS = 80  # of a formula's number and the signs around it
_MAX_CELL_WORDS = 150  # of which a cell of data has fewer on average
_BLOCKS = frozenset(
    (
        "p", "div", "br", "li", "ul", "ol", "tr", "table", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5",
        "h6", "pre", "td", "th", "hr", "section", "article", "blockquote", "caption",
    )
)  # fmt: skip
_DROPPED = frozenset(("script", "style", "template", "select", "button", "svg", "noscript", "textarea"))
_SECTIONS = frozenset(("h1", "h2", "article", "nav", "main", "footer", "aside", "header", "form"))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of equal length, the caption ("" without one), and whether the first row is its head."""

    rows: list[list[str]]
    caption: str = ""
    has_head: bool = True


def find(
    markup: str | Node, inline: Callable[[Node], str] | None = None, bounds: Bounds | None = None
) -> Table | None:
    """Read a table of data from its markup or the root above it; `inline` writes a cell."""
    table = (parse(markup) if isinstance(markup, str) else markup).first("table")
    if table is None or not is_data(table):
        return None
    write = inline or cell_text
    rows, has_head, is_bounded = _rows(table, write)
    if is_bounded and bounds:
        bounds.met.add("grid")
    if not rows:
        return None
    caption = next((child for child in table.nodes() if child.tag == "caption"), None)
    return Table(rows, write(caption) if caption else "", has_head)


def own_rows(table: Node) -> list[Node]:
    """Return the rows of a table, those of tables in its cells not among them; head first, foot last."""
    head: list[Node] = []
    body: list[Node] = []
    foot: list[Node] = []
    for child in table.nodes():
        part = {"thead": head, "tfoot": foot}.get(child.tag, body)
        part += [child] if child.tag == "tr" else [row for row in child.nodes() if row.tag == "tr"]
    return head + body + foot


def is_data(table: Node) -> bool:
    """Tell whether a table holds data rather than lays out the page.

    It has two rows with cells side by side, or names a header; no headings of sections, no forms; no cell of
    an article's length, no code of several lines; and tables within its cells are few and small.
    """
    if table.get("role") == "presentation":
        return False
    rows = [[cell for cell in row.nodes() if cell.tag in ("td", "th")] for row in own_rows(table)]
    rows = [row for row in rows if any(cell.text().strip() for cell in row)]
    wide = sum(1 for row in rows if len(row) > 1)
    if wide == 0 or len(rows) == 0:
        return False
    if table.first(*_SECTIONS) is not None:
        return False
    filled = [cell for row in rows for cell in row if cell.text().strip()]
    words = sorted(len(cell.text().split()) for cell in filled)
    if words[-1] > 400 or sum(words) > _MAX_CELL_WORDS * len(words):
        return False
    if _lays_out_formula(filled) or any("\n" in pre.text().strip() for pre in table.all("pre")):
        return False
    nested = list(table.all("table"))
    if nested:
        chars, after = 0, 0
        for inner in nested:
            if inner.number >= after:  # lies in none of the others
                chars, after = chars + inner.end - inner.start, inner.after
        share = chars / max(table.end - table.start, 1)
        return share < 0.5 and wide > 1 and len(nested) <= len(filled)
    header = any(cell.tag == "th" for row in rows for cell in row)
    return wide > 1 or header or len(rows) > 1 or len(filled) > 2


def _lays_out_formula(cells: list[Node]) -> bool:
    """Tell whether the only cells are a formula and its number."""
    return (
        len(cells) <= 3
        and any(cell.first("math", "mjx-container") is not None for cell in cells)
        and all(
            cell.first("math", "mjx-container") is not None or _is_short(cell.text().strip())
            for cell in cells
        )
    )


def _is_short(text: str) -> bool:
    """Tell whether a text is a number or a word between signs."""
    return len(text) <= _MAX_NUMBER_CHARS and re.fullmatch(r"\W*[\w.]{1,8}\W*", text) is not None


def cell_text(node: Node) -> str:
    """Write a cell as one line: breaks and nested rows are blanks."""
    parts: list[str] = []
    stack: list[Node | str] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif item.tag not in _DROPPED:
            if item.tag in _BLOCKS:
                parts.append(" ")
                stack.append(" ")
            stack += reversed(item.children)
    return " ".join("".join(parts).split())


def _span(cell: Node, name: str) -> int:
    value = cell.get(name).strip()
    number = int(value) if value.isdecimal() and len(value) < 6 else 1
    return min(max(number, 1), _MAX_SPAN)


def _rows(table: Node, write: Callable[[Node], str]) -> tuple[list[list[str]], bool, bool]:
    """Lay the cells on a grid; a cell that spans others is repeated in them. Empty rows are left out.

    Returns (rows, whether the first is a head, whether a bound was met): a grid that is out of proportion to
    the table has no rows.
    """
    grid: list[list[str]] = []
    pending: dict[int, tuple[int, str]] = {}  # column: rows still to fill, the text
    most_cells = min(_FREE_CELLS + _CELLS_EACH * table.count("td", "th"), _MAX_CELLS)
    rows = own_rows(table)
    cells_of = [[cell for cell in row.nodes() if cell.tag in ("td", "th")] for row in rows]
    texts_of = [[write(cell) for cell in cells] for cells in cells_of]
    most_chars = _FREE_CHARS + _CHARS_EACH * sum(len(text) for texts in texts_of for text in texts)
    has_head, num_cells, num_chars = False, 0, 0
    for number, (row, cells, texts) in enumerate(zip(rows, cells_of, texts_of, strict=True)):
        line: list[str] = []
        if number == 0 or not grid:
            has_head = bool(cells) and (all(cell.tag == "th" for cell in cells) or _in_head(row))
        for cell, text in zip(cells, texts, strict=True):
            _fill(line, pending)
            height = _span(cell, "rowspan")
            for _ in range(_span(cell, "colspan")):
                if height > 1:
                    pending[len(line)] = (height, text)
                    _fill(line, pending, only=len(line))
                else:
                    line.append(text)
            if num_cells + len(line) > most_cells:
                return [], False, True
        _fill(line, pending)
        num_cells += len(line)
        num_chars += sum(map(len, line))
        if num_cells > most_cells or num_chars > most_chars:
            return [], False, True
        if any(line):
            grid.append(line)
    width = max((len(line) for line in grid), default=0)
    if width * len(grid) > most_cells:
        return [], False, True
    used = [column for column in range(width) if any(column < len(line) and line[column] for line in grid)]
    return [[line[c] if c < len(line) else "" for c in used] for line in grid], has_head, False


def _fill(line: list[str], pending: dict[int, tuple[int, str]], only: int = -1) -> None:
    """Write what cells of rows above reach down into, as far as they lie side by side."""
    while len(line) in pending and only in (-1, len(line)):
        height, text = pending.pop(len(line))
        if height > 1:
            pending[len(line)] = (height - 1, text)
        line.append(text)


def _in_head(row: Node) -> bool:
    return row.parent is not None and row.parent.tag == "thead"
