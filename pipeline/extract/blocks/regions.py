"""Stretches of a page that are kept or dropped as a whole and written from their own markup: code, tables.

`find` returns them for the blocks a page keeps, and completes `kept` accordingly: a stretch most of which
is kept, or that stands between kept blocks, is kept to its last block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import data_tables, listings
from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.cut import Choice
from gristmill.pipeline.extract.blocks.data_tables import Table
from gristmill.pipeline.extract.blocks.inline import write
from gristmill.pipeline.extract.blocks.listings import Listing
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized

_PRE, _LISTING, _TABLE = T.ID["pre"], T.ID["listing"], T.ID["table"]
_MOSTLY = 0.5  # share of a stretch's words kept from which the rest is kept too
_NEAR = 3  # blocks before and after, of which one must be kept for a stretch to stand between kept ones
_MIN_ROWS = 4  # with its head, of a table that no kept block stands beside
_BESIDE = T.NAV | T.FOOTER | T.ASIDE | T.FORM | T.HIDDEN | T.DIALOG
_MAX_READ = 3  # times the page's bytes that may be read as fragments
_NUMBERED = re.compile(rb"line-?num|lineno|lnum|gutter|data-line|numbering|class=[\"']?ln\b", re.IGNORECASE)
_ANCESTORS = 3


@dataclass(frozen=True, slots=True)
class Region:
    """Blocks `first` to `end` (exclusive) and what they are."""

    first: int
    end: int
    content: Listing | Table


def find(
    page: bytes,
    tokenized: Tokenized,
    choice: Choice,
    mode: int,
    is_markdown: bool,
) -> list[Region]:
    """Return the stretches of code, and in Markdown of tables, that are kept, in order; `choice.kept` is
    completed in place. In text, code that lies in one block as it should is left to it, and so are tables."""
    blocks, elements, kept = tokenized.blocks, tokenized.elements, choice.kept
    spans = _candidates(elements, len(page), is_markdown) + _code_phrases(tokenized)
    if not spans:
        return []
    starts = blocks[:, L.SOURCE_START]
    found: list[Region] = []
    done, budget = 0, _MAX_READ * len(page) + 10_000
    for opened, closed, element in sorted(spans, key=lambda span: (span[0], -span[1])):
        if opened < done:
            continue
        first, end = np.searchsorted(starts, (opened, closed)).tolist()
        is_table = element > 0 and elements[element, L.TAG] == _TABLE
        stands = first < end and _is_kept(blocks, choice, first, end)
        if first == end or not (stands or (is_table and _in_main(elements, element))):
            continue
        if not is_markdown and _is_plain(page, blocks, first, end, opened, closed):
            kept[first:end] = True
            done = closed
            continue
        budget -= closed - opened
        if budget < 0:
            break
        content = _read(page, elements, element, opened, closed, mode, is_table)
        if isinstance(content, Table) and not is_markdown:
            content = None
        if content is None or not (stands or (isinstance(content, Table) and _is_listing(content))):
            continue
        kept[first:end] = True
        found.append(Region(first, end, content))
        done = closed
    return found


def _candidates(
    elements: npt.NDArray[np.int64], page_bytes: int, is_markdown: bool
) -> list[tuple[int, int, int]]:
    """List (begin, end, element) of what may be code or a table by its name; what the page never closes is
    none."""
    tags = elements[:, L.TAG]
    wanted = (tags == _PRE) | (tags == _LISTING) | ((elements[:, L.CONTEXT] & T.CODE) != 0)
    if is_markdown:
        wanted |= tags == _TABLE
    numbers = np.flatnonzero(wanted)
    return [
        (opened, closed, number)
        for number, opened, closed in zip(
            numbers.tolist(),
            elements[numbers, L.OPENED].tolist(),
            elements[numbers, L.CLOSED].tolist(),
            strict=True,
        )
        if closed < page_bytes or opened == 0 or closed - opened < 0.9 * page_bytes
    ]


def _code_phrases(tokenized: Tokenized) -> list[tuple[int, int, int]]:
    """List (begin, end, 0) of `code` elements that fill whole blocks and hold line breaks."""
    inserts, blocks = tokenized.inserts, tokenized.blocks
    spans, opened = [], -1
    for kind, start, end, at in inserts.tolist():
        if kind == L.CODE_BEGIN and opened < 0:
            opened, began = start, at
        elif kind == L.CODE_END and opened >= 0:
            first = int(np.searchsorted(blocks[:, L.START], began, side="right")) - 1
            last = int(np.searchsorted(blocks[:, L.START], at, side="right")) - 1
            whole = first >= 0 and began == blocks[first, L.START] and at + 1 >= blocks[last, L.END]
            if whole and (last > first or blocks[first, L.BREAKS] > 0):
                spans.append((opened, end, 0))
            opened = -1
    return spans


def _is_kept(blocks: npt.NDArray[np.int32], choice: Choice, first: int, end: int) -> bool:
    """Tell whether most of a stretch is kept, or it stands between kept blocks. One all of which came before,
    as pages have for narrow screens, is not."""
    kept, words = choice.kept, blocks[first:end, L.WORDS]
    if kept[first:end].any():
        if words[kept[first:end]].sum() >= _MOSTLY * words.sum():
            return True
    elif (choice.repeated[first:end] > 0).all() and words.sum() > 8:
        return False
    before, after = kept[max(first - _NEAR, 0) : first], kept[end : end + _NEAR]
    return bool(before.any() and after.any())


def _in_main(elements: npt.NDArray[np.int64], element: int) -> bool:
    """Tell whether an element lies in the page's `main` or `article`, and not in what is beside it there."""
    context = int(elements[element, L.CONTEXT])
    return bool(context & (T.MAIN | T.ARTICLE)) and not context & _BESIDE


def _is_listing(table: Table) -> bool:
    """Tell whether a table is worth keeping for itself: a head, and rows enough under it."""
    return table.has_head and len(table.rows) >= _MIN_ROWS and len(table.rows[0]) > 1


def _is_plain(
    page: bytes, blocks: npt.NDArray[np.int32], first: int, end: int, opened: int, closed: int
) -> bool:
    """Tell whether a `pre` lies in one block, without breaks or numbers of lines to mend."""
    return (
        end - first == 1
        and page[opened : opened + 4].lower() == b"<pre"
        and blocks[first, L.BREAKS] == 0
        and _NUMBERED.search(page, opened, closed) is None
    )


def _read(
    page: bytes,
    elements: npt.NDArray[np.int64],
    element: int,
    opened: int,
    closed: int,
    mode: int,
    is_table: bool,
) -> Listing | Table | None:
    """Read a stretch's markup as what it may be."""
    size = closed - opened
    if size <= listings.MAX_BYTES and (
        not is_table or elements[element, L.CONTEXT] & T.CODE or _may_number(page, opened, closed)
    ):
        around = b"".join(_start_tags(page, elements, element))
        found = listings.find(
            page[opened:closed].decode("utf-8", "replace"), around.decode("utf-8", "replace")
        )
        if found is not None or not is_table:
            return found
    if is_table and size <= data_tables.MAX_BYTES:
        return data_tables.find(
            page[opened:closed].decode("utf-8", "replace"), lambda node: write(node, mode)
        )
    return None


def _may_number(page: bytes, opened: int, closed: int) -> bool:
    """Tell whether a table may be lines of code: it names numbers or holds preformatted text."""
    return page.find(b"<pre", opened, closed) >= 0 or _NUMBERED.search(page, opened, closed) is not None


def _start_tags(page: bytes, elements: npt.NDArray[np.int64], element: int) -> list[bytes]:
    """Return the start tags of the elements around one, the outermost first."""
    found: list[bytes] = []
    element = int(elements[element, L.PARENT])
    while element > 0 and len(found) < _ANCESTORS:
        at = int(elements[element, L.OPENED])
        found.append(page[at : page.find(b">", at, at + 1000) + 1])
        element = int(elements[element, L.PARENT])
    return found[::-1]
