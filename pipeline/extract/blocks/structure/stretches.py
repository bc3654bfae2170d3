"""List where a page may hold code or a table by the names of its elements, for `regions` to read."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing
from gristmill.pipeline.extract.blocks.structure.listings import PROSE
from gristmill.text import kernel

_TABLE, _PRE = T.ID["table"], T.ID["pre"]
_CELLS = (T.ID["td"], T.ID["th"])
_IS_PROSE = np.zeros(T.NUM_TAGS, dtype=np.bool_)  # tags that no element holds that is code by its name
_IS_PROSE[[T.ID[tag] for tag in PROSE if tag in T.ID]] = True
_MOST_OF_PAGE = 0.9


@njit_borrowing
def _first_after(blocks, place):
    """Return the first block whose markup begins at a place of the page or after it."""
    low, high = 0, blocks.shape[0]
    while low < high:
        middle = (low + high) // 2
        if blocks[middle, L.SOURCE_START] < place:
            low = middle + 1
        else:
            high = middle
    return low


@njit_borrowing
def _owner(blocks, at):
    """Return the block that holds a place of the text, or the one before it; -1 before the first."""
    low, high = 0, blocks.shape[0]
    while low < high:
        middle = (low + high) // 2
        if blocks[middle, L.START] <= at:
            low = middle + 1
        else:
            high = middle
    return low - 1


@njit_borrowing
def _add(blocks, opened, closed, element, found, num):
    first, end = _first_after(blocks, opened), _first_after(blocks, closed)
    if first < end:
        found[num, 0], found[num, 1], found[num, 2], found[num, 3], found[num, 4] = (
            opened,
            closed,
            element,
            first,
            end,
        )
        num += 1
    return num


@njit_borrowing
def _count(elements, pres, prose):
    """Count the elements of two kinds before each: `pre`, and those that no code holds."""
    for e in range(elements.shape[0]):
        tag = elements[e, L.TAG]
        pres[e + 1], prose[e + 1] = pres[e] + (tag == _PRE), prose[e] + _IS_PROSE[tag]


@njit_borrowing
def _end_of(places, e):
    """Return the number after those of the elements within one."""
    low, high, closed = e + 1, places.shape[0], places[e, L.CLOSED]
    while low < high:
        middle = (low + high) // 2
        if places[middle, L.OPENED] < closed:
            low = middle + 1
        else:
            high = middle
    return low


@njit_borrowing
def _is_other(e, elements, places, blocks, pres, prose, row):
    """Tell of an element that goes by a name of code that it holds prose, or one `pre`, which is read by
    itself, or is a cell of one line."""
    tag, end = elements[e, L.TAG], _end_of(places, e)
    if tag in (_PRE, _TABLE):
        return False
    num_pre = pres[end] - pres[e + 1]
    if num_pre == 1 or prose[end] > prose[e + 1]:
        return True
    is_line = row[4] - row[3] == 1 and blocks[row[3], L.BREAKS] == 0
    return num_pre == 0 and is_line and tag in _CELLS


@njit(cache=True, nogil=True)
def stretches(elements, places, blocks, inserts, num_bytes, with_tables):
    """List (begin, end, element, first block, block after the last) of what may be code or a table by its
    name, and of `code` phrases (element 0) that fill whole blocks and hold line breaks: int64, the elements
    first, each in order.

    An element that is hardly smaller than the page and never closed is none, nor is one that goes by a name
    of code and holds what no code does.
    """
    pres, prose = np.zeros((2, elements.shape[0] + 1), dtype=np.int64)
    _count(elements, pres, prose)
    found = np.empty((elements.shape[0] + inserts.shape[0] // 2 + 1, 5), dtype=np.int64)
    num = 0
    for e in range(elements.shape[0]):
        if elements[e, L.CONTEXT] & T.CODE or (with_tables and elements[e, L.TAG] == _TABLE):
            opened, closed = np.int64(places[e, L.OPENED]), np.int64(places[e, L.CLOSED])
            if closed < num_bytes or closed - opened < _MOST_OF_PAGE * num_bytes:
                added = _add(blocks, opened, closed, e, found, num)
                if added > num and not _is_other(e, elements, places, blocks, pres, prose, found[num]):
                    num = added
    opened, began, first = np.int64(-1), np.int64(0), 0
    for k in range(inserts.shape[0]):
        kind, at = inserts[k, L.KIND], np.int64(inserts[k, L.TEXT_AT])
        if kind == L.CODE_BEGIN and opened < 0:
            opened, began, first = np.int64(inserts[k, L.INSERT_START]), at, _owner(blocks, at)
        elif kind == L.CODE_END and opened >= 0:
            owner = _owner(blocks, at)
            breaks = 0 <= first < owner or (first == owner and first >= 0 and blocks[first, L.BREAKS] > 0)
            if breaks and began == blocks[first, L.START] and at + 1 >= blocks[owner, L.END]:
                num = _add(blocks, opened, np.int64(inserts[k, L.INSERT_END]), 0, found, num)
            opened = np.int64(-1)
    return found[:num]


__all__ = ["kernel", "stretches"]
