"""Write the chosen blocks as text a reader wants: one paragraph, heading, list item or table row a line, code
as it was."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.text import kernel

_MAX_CELL_WORDS = 60  # longer ones are paragraphs in a table that only lays out the page
_LI, _OL, _DD, _H1, _H6 = (T.ID[name] for name in ("li", "ol", "dd", "h1", "h6"))
_TAB, _LINE, _DASH, _SPACE = 9, 10, 45, 32


@njit(cache=True, nogil=True)
def _item(elements, element):
    """Return the list item a block begins or continues (itself or up to two elements above), 0 outside
    lists."""
    for _ in range(3):
        if elements[element, L.TAG] == _LI:
            return element
        element = elements[element, L.PARENT]
    return 0


@njit(cache=True, nogil=True)
def same_row(blocks, elements, a, b):
    """Tell whether two blocks are short cells of one table row."""
    cell, other = elements[blocks[a, L.ELEMENT], L.CELL], elements[blocks[b, L.ELEMENT], L.CELL]
    return (
        cell > 0
        and other > 0
        and cell != other
        and elements[cell, L.PARENT] == elements[other, L.PARENT]
        and blocks[a, L.WORDS] <= _MAX_CELL_WORDS
        and blocks[b, L.WORDS] <= _MAX_CELL_WORDS
    )


@njit(cache=True, nogil=True)
def plain_text(text, blocks, elements, kept):
    """Return the kept blocks as UTF-8: a line each, list items behind "- ", cells of a row joined by tabs."""
    size = 0
    for b in range(blocks.shape[0]):
        if kept[b]:
            size += blocks[b, L.END] - blocks[b, L.START] + 3
    out = np.empty(size, dtype=np.uint8)
    position, previous, item_before = 0, -1, 0
    for b in range(blocks.shape[0]):
        if not kept[b]:
            continue
        in_row = previous >= 0 and same_row(blocks, elements, previous, b)
        if previous >= 0:
            out[position] = _TAB if in_row else _LINE
            position += 1
        item = _item(elements, np.int64(blocks[b, L.ELEMENT]))
        if item > 0 and item != item_before and not in_row:
            out[position], out[position + 1] = _DASH, _SPACE
            position += 2
        item_before = item
        start, end = blocks[b, L.START], blocks[b, L.END]
        for k in range(start, end):
            out[position] = text[k]
            position += 1
        previous = b
    return out[:position]


def markdown(
    text: npt.NDArray[np.uint8],
    blocks: npt.NDArray[np.int32],
    elements: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
) -> str:
    """Return the kept blocks as Markdown: headings, nested lists, tables, fenced code, quotes. Links and
    emphasis are not kept."""
    data = text.tobytes()
    lines: list[str] = []
    previous, item_before, rows_in_table, table_before = -1, 0, 0, 0
    for b in np.flatnonzero(kept).tolist():
        block = data[blocks[b, L.START] : blocks[b, L.END]].decode()
        element = int(blocks[b, L.ELEMENT])
        context, tag = int(elements[element, L.CONTEXT]), int(elements[element, L.TAG])
        cell = int(elements[element, L.CELL])
        item = int(_item(elements, element))
        row = int(elements[cell, L.PARENT]) if cell else 0
        if previous >= 0 and same_row(blocks, elements, previous, b):
            lines[-1] += " | " + block.replace("\n", " ")
        elif context & T.PRE:
            fence = "```" if "```" not in block else "~~~~"
            lines += ["", fence, block, fence]
        elif context & T.HEADING and _H1 <= tag <= _H6:
            lines += ["", "#" * (tag - _H1 + 1) + " " + block.replace("\n", " ")]
        elif item:
            depth, ordered = _list_place(elements, item)
            mark = f"{ordered}." if ordered else "-"
            first = item != item_before
            if first and item_before == 0:
                lines.append("")
            lines.append(
                "  " * depth
                + (f"{mark} " if first else "  ")
                + block.replace("\n", "\n" + "  " * (depth + 1))
            )
        elif row and blocks[b, L.WORDS] <= _MAX_CELL_WORDS and _has_cells(elements, blocks, kept, b):
            table = int(elements[row, L.PARENT])
            if table != table_before:
                lines.append("")
                rows_in_table, table_before = 0, table
            lines.append("| " + block.replace("\n", " "))
            rows_in_table += 1
        elif context & T.QUOTE:
            lines += ["", "> " + block.replace("\n", "\n> ")]
        else:
            lines += ["", block]
        previous, item_before = b, item
    return "\n".join(_close_tables(lines)).strip("\n")


def _list_place(elements: npt.NDArray[np.int64], item: int) -> tuple[int, int]:
    """Return (depth of nesting, number in an ordered list or 0) of a list item."""
    parent = int(elements[item, L.PARENT])
    number = 0
    if elements[parent, L.TAG] == _OL:
        number = int(
            np.count_nonzero(
                (elements[: item + 1, L.PARENT] == parent) & (elements[: item + 1, L.TAG] == _LI)
            )
        )
    depth, element = 0, parent
    while element > 0:
        depth += elements[element, L.TAG] == _LI
        element = int(elements[element, L.PARENT])
    return int(depth), number


def _has_cells(
    elements: npt.NDArray[np.int64], blocks: npt.NDArray[np.int32], kept: npt.NDArray[np.bool_], b: int
) -> bool:
    """Tell whether the next kept block is another cell of the same row."""
    after = np.flatnonzero(kept[b + 1 :])
    return len(after) > 0 and bool(same_row(blocks, elements, b, b + 1 + int(after[0])))


def _close_tables(lines: list[str]) -> list[str]:
    """Close the rows of tables and put the rule below each first row."""
    closed: list[str] = []
    for i, line in enumerate(lines):
        if not line.startswith("| "):
            closed.append(line)
            continue
        closed.append(line + " |")
        if i == 0 or not lines[i - 1].startswith("| "):
            closed.append("|" + " --- |" * (line.count(" | ") + 1))
    return closed


__all__ = ["kernel", "markdown", "plain_text"]
