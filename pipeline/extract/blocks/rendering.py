"""Write the chosen blocks as plain text: one paragraph, heading, list item or table row a line."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.text import kernel

MAX_CELL_WORDS = 60  # longer ones are paragraphs in a table that only lays out the page
_LI = T.ID["li"]
_TAB, _LINE, _DASH, _SPACE = 9, 10, 45, 32


@njit(cache=True, nogil=True)
def list_item(elements, element):
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
        and blocks[a, L.WORDS] <= MAX_CELL_WORDS
        and blocks[b, L.WORDS] <= MAX_CELL_WORDS
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
        item = list_item(elements, np.int64(blocks[b, L.ELEMENT]))
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


__all__ = ["MAX_CELL_WORDS", "kernel", "list_item", "plain_text", "same_row"]
