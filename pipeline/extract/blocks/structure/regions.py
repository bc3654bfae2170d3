"""Stretches of a page that are kept or dropped as a whole and written from their own markup: code, tables.

`find` returns them for the blocks a page keeps, and completes `kept` accordingly: a stretch most of which
is kept, or that stands between kept blocks, is kept to its last block.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.cut import Choice
from gristmill.pipeline.extract.blocks.structure import data_tables, listings
from gristmill.pipeline.extract.blocks.structure.data_tables import Table
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds, parse
from gristmill.pipeline.extract.blocks.structure.inline import write
from gristmill.pipeline.extract.blocks.structure.listings import Listing
from gristmill.pipeline.extract.blocks.structure.stretches import stretches
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized

_PRE, _TABLE = T.ID["pre"], T.ID["table"]
_MOSTLY = 0.5  # share of a stretch's words kept from which the rest is kept too
_NEAR = 3  # blocks before and after, of which one must be kept for a stretch to stand between kept ones
_FAR = 12  # blocks before the first and after the last kept one, within which code is kept
_MIN_ROWS = 4  # with its head, of a table that no kept block stands beside
_BESIDE = T.NAV | T.FOOTER | T.ASIDE | T.FORM | T.HIDDEN | T.DIALOG
_MAX_READ = 3  # times the page's bytes that may be read as fragments
_NUMBERS = (
    b"inenum",
    b"ineNum",
    b"ine-num",
    b"ineno",
    b"lnum",
    b"gutter",
    b"data-line",
    b"numbering",
    b'class="ln',
)
_SURE = re.compile(
    rb"highlight[\"' -]|highlighter|hilite|prettyprint|hljs|geshi|crayon|codemirror|ace_editor|ace_content"
    rb"|monaco|filecontents|bbcode_code|bbc_code|code-?block[\"' ]|csharpcode|programlisting|lstlisting"
    rb"|source-?code|shiki|prism|codebox|blockcode|[\"' ]code[\"' ]|linenums|dp-highlighter"
    rb"|cm-content|formatcode"
)
_LIKE_CODE = re.compile(rb"[{}=<>;$]|\w\(|:$|^[^\S\n]*+#|--", re.MULTILINE)
_FIRST_HASH = re.compile(rb"\s{0,200}#")
_WHOLE_PAGE = re.compile(rb"<(?:body|html|main|article)[\s>]")  # has names of code for a page about it
_MAX_LOOSE_BYTES = 20_000  # of an element whose name may mean something else
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
    bounds: Bounds,
) -> list[Region]:
    """Return the stretches of code, and in Markdown of tables, that are kept, in order; `choice.kept` is
    completed in place. In text, code that lies in one block as it should is left to it, and so are tables."""
    blocks, elements, kept = tokenized.blocks, tokenized.elements, choice.kept
    found: list[Region] = []
    has_phrases = len(tokenized.inserts) > tokenized.num_formulas
    if not (tokenized.num_code or has_phrases or is_markdown):
        return found
    spans = _spans(page, tokenized, is_markdown)
    if not spans:
        return found
    inside, reach, done, budget = _Inside(tokenized), _reach(kept), 0, _MAX_READ * len(page) + 10_000
    for opened, closed, element, first, end in spans:
        if opened < done:
            continue
        is_table = element > 0 and elements[element, L.TAG] == _TABLE
        by_name = element > 0 and not is_table
        is_near = _is_near(elements, element, first, end, reach) or (is_table and _in_main(elements, element))
        stands = None if is_near else _is_kept(blocks, choice, first, end)
        if not (is_near or stands):
            continue
        if by_name and not _may_be_code(page, tokenized, opened, closed, first, end, inside):
            continue
        if stands is None:
            stands = _is_kept(blocks, choice, first, end)
        if not is_markdown and _is_plain(page, blocks, first, end, opened, closed):
            kept[first:end] = True
            done = closed
            continue
        budget -= closed - opened
        if budget < 0:
            bounds.met.add("fragments")
            break
        content = _read(page, tokenized, element, opened, closed, mode, is_table, is_markdown, bounds)
        if isinstance(content, Table) and not is_markdown:
            content = None
        if content is None or not (stands or _is_whole(content)):
            continue
        kept[first:end] = True
        found.append(Region(first, end, content))
        done = closed
    return found


def _spans(page: bytes, tokenized: Tokenized, is_markdown: bool) -> list[list[int]]:
    """List (begin, end, element, first block, block after the last) of what may be code or a table by its
    name, outer ones first."""
    found: list[list[int]] = stretches(
        tokenized.elements, tokenized.places, tokenized.blocks, tokenized.inserts, len(page), is_markdown
    ).tolist()
    if found and not found[-1][2]:  # phrases come after the elements
        found.sort(key=lambda span: (span[0], -span[1]))
    return found


def _is_kept(blocks: npt.NDArray[np.int32], choice: Choice, first: int, end: int) -> bool:
    """Tell whether most of a stretch is kept, or it stands between kept blocks. One all of which came before,
    as pages have for narrow screens, is not."""
    kept = choice.kept
    if _any(kept, first, end):
        words = blocks[first:end, L.WORDS]
        if words[kept[first:end]].sum() >= _MOSTLY * words.sum():
            return True
    elif (
        choice.repeated[first] > 0
        and (choice.repeated[first:end] > 0).all()
        and blocks[first:end, L.WORDS].sum() > 8
    ):
        return False
    return _any(kept, max(first - _NEAR, 0), first) and _any(kept, end, end + _NEAR)


def _any(kept: npt.NDArray[np.bool_], first: int, end: int) -> bool:
    """Tell whether some of a few blocks are kept; for these, `any` takes ten times as long."""
    return b"\x01" in kept[first:end].tobytes()


def _in_main(elements: npt.NDArray[np.int64], element: int) -> bool:
    """Tell whether an element lies in the page's `main` or `article`, and not in what is beside it there."""
    context = int(elements[element, L.CONTEXT])
    return bool(context & (T.MAIN | T.ARTICLE)) and not context & _BESIDE


def _reach(kept: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first block and the one after the last that are not far from what is kept."""
    numbers = np.flatnonzero(kept)
    return (int(numbers[0]) - _FAR, int(numbers[-1]) + 1 + _FAR) if len(numbers) else (0, 0)


def _is_near(
    elements: npt.NDArray[np.int64], element: int, first: int, end: int, reach: tuple[int, int]
) -> bool:
    """Tell whether code lies where the main text is: pages have little of it elsewhere."""
    return reach[0] <= first and end <= reach[1] and not int(elements[element, L.CONTEXT]) & _BESIDE


def _is_whole(content: Listing | Table) -> bool:
    """Tell whether a stretch is worth keeping though no kept block stands beside it: code of several lines, a
    table with a head and rows enough under it."""
    if isinstance(content, Listing):
        return "\n" in content.text
    return content.has_head and len(content.rows) >= _MIN_ROWS and len(content.rows[0]) > 1


def _is_plain(
    page: bytes,
    blocks: npt.NDArray[np.int32],
    first: int,
    end: int,
    opened: int,
    closed: int,
) -> bool:
    """Tell whether a `pre` lies in one block, without breaks or numbers of lines to mend."""
    return (
        end - first == 1
        and page[opened : opened + 4].lower() == b"<pre"
        and blocks[first, L.BREAKS] == 0
        and not _holds(page, _NUMBERS, opened, closed)
    )


def _holds(page: bytes, names: Sequence[bytes], opened: int, closed: int) -> bool:
    """Tell whether a stretch of markup holds one of the names."""
    return any(page.find(name, opened, closed) >= 0 for name in names)


def _read(
    page: bytes,
    tokenized: Tokenized,
    element: int,
    opened: int,
    closed: int,
    mode: int,
    is_table: bool,
    is_markdown: bool,
    bounds: Bounds,
) -> Listing | Table | None:
    """Read a stretch's markup as what it may be."""
    size = closed - opened
    may_list = size <= listings.MAX_BYTES and (
        not is_table
        or tokenized.elements[element, L.CONTEXT] & T.CODE
        or _holds(page, (b"<pre", *_NUMBERS), opened, closed)
    )
    if not may_list and not (is_table and size <= data_tables.MAX_BYTES):
        bounds.met.add("fragments")
        return None
    markup = page[opened:closed].decode("utf-8", "replace")
    around = (
        b"".join(_start_tags(page, tokenized, element)).decode("utf-8", "replace") if is_markdown else None
    )
    if not is_table and around is None and (text := listings.highlighted(markup)) is not None:
        return Listing(text) if text.strip() else None
    if not bounds.allow(markup):
        return None
    with parse(markup, bounds) as root:
        found = listings.find(root, around) if may_list else None
        if found is not None or not is_table:
            return found
        return data_tables.find(root, lambda node: write(node, mode), bounds)


class _Inside:
    """Where `pre` and `code` begin in the page, in order, and the signs of code in its text."""

    def __init__(self, tokenized: Tokenized) -> None:
        self._tokenized = tokenized
        self.signs = _Signs(tokenized.text)

    @cached_property
    def pres(self) -> list[int]:
        found: list[int] = self._tokenized.places[
            self._tokenized.elements[:, L.TAG] == _PRE, L.OPENED
        ].tolist()
        return found

    @cached_property
    def codes(self) -> list[int]:
        inserts = self._tokenized.inserts
        found: list[int] = inserts[inserts[:, L.KIND] == L.CODE_BEGIN, L.INSERT_START].tolist()
        return found


def _may_be_code(
    page: bytes,
    tokenized: Tokenized,
    opened: int,
    closed: int,
    first: int,
    end: int,
    inside: _Inside,
) -> bool:
    """Tell quickly whether an element that goes by a name of code is worth reading: it is preformatted, or
    holds several such parts, or `code`, or has a name that is no other's. Around one `pre` it is not."""
    num_pre = bisect_left(inside.pres, closed) - bisect_left(inside.pres, opened)
    if num_pre and inside.pres[bisect_left(inside.pres, opened)] == opened:
        return True
    start = page[opened : page.find(b">", opened, opened + 1000) + 1].lower()
    if _WHOLE_PAGE.match(start):
        return False
    is_sure = _SURE.search(start) is not None
    if not is_sure and closed - opened > _MAX_LOOSE_BYTES:
        return False
    if num_pre:
        return True
    if not is_sure and bisect_left(inside.codes, closed) == bisect_left(inside.codes, opened):
        return False
    blocks = tokenized.blocks
    return inside.signs.any(int(blocks[first, L.START]), int(blocks[end - 1, L.END]))


class _Signs:
    """Looks for signs of code in stretches of a page's text that begin one after the other, and lie in each
    other: no part of the text is searched twice."""

    def __init__(self, text: npt.NDArray[np.uint8]) -> None:
        self._array, self._text = text, b""
        self._next, self._searched = (-1, -1), 0

    def any(self, start: int, end: int) -> bool:
        """Tell whether the text from `start` to `end` looks like code; `start` never falls."""
        if not self._text:
            self._text = self._array.tobytes()
        if self._text[end - 1 : end] == b":" or _FIRST_HASH.match(self._text, start, end):
            return True
        if self._next[0] < start:
            begin = max(start, self._searched)
            match = _LIKE_CODE.search(self._text, begin, end) if begin < end else None
            self._searched = match.start() if match else max(end, begin)
            self._next = match.span() if match else (-1, -1)
        return self._next[0] >= start and self._next[1] <= end


def _start_tags(page: bytes, tokenized: Tokenized, element: int) -> list[bytes]:
    """Return the start tags of the elements around one, the outermost first."""
    found: list[bytes] = []
    elements, places = tokenized.elements, tokenized.places
    element = int(elements[element, L.PARENT])
    while element > 0 and len(found) < _ANCESTORS:
        at = int(places[element, L.OPENED])
        found.append(page[at : page.find(b">", at, at + 1000) + 1])
        element = int(elements[element, L.PARENT])
    return found[::-1]
