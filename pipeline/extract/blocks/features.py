"""What the classifier sees of each block: its own text, the elements around it, its neighbours, the page.

One column of float32 per block, its rows as in `columns`. Nothing here knows a language; the two learned
tables (class names and words, as log-odds of being main text) are given, and a name they do not hold counts
zero.
"""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

# mypy: disable-error-code="no-untyped-def,assignment"
import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import columns as C
from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing
from gristmill.pipeline.extract.blocks.surroundings import (
    ALIKE_SLOTS,
    PROSE_LINKS,
    PROSE_WORDS,
    alike,
    best_element,
    copies,
    fraction,
    log,
    median_depth,
    name_odds,
    odds,
    share_depth,
    sum_elements,
    title_overlaps,
    title_words,
)  # fmt: skip
from gristmill.pipeline.extract.blocks.trees import LANES

_H1, _H6, _ARTICLE_TAG, _MAIN_TAG = T.ID["h1"], T.ID["h6"], T.ID["article"], T.ID["main"]
_CONTAINER = T.ARTICLE | T.MAIN | T.SECTION
_TITLE_FILTER = 1024  # slots, for at most MAX_BLOCK_WORDS words
_IN_HEADING = C.FIRST_CONTEXT + C.CONTEXTS.index(T.HEADING)


@njit_borrowing
def _tag_kind(tag):
    """Group tags that mean the same to the classifier: headings are one."""
    return _H1 if _H1 <= tag <= _H6 else tag


@njit_borrowing
def _own(
    x, b, blocks, elements, tokens, words, names, name_keys, name_values, word_keys, word_values, source_bytes
):
    """Fill what a block says by itself, the context of its element and the log-odds of its names and
    words."""
    x, row, element = x[:, b], blocks[b], blocks[b, L.ELEMENT]
    num_words, num_chars = row[L.WORDS], row[L.CHARS]
    previous_end = blocks[b - 1, L.SOURCE_END] if b > 0 else 0
    context, tag = elements[element, L.CONTEXT], elements[element, L.TAG]
    x[C.WORDS], x[C.CHARS] = log(num_words), log(num_chars)
    x[C.LINK_WORDS_FRACTION], x[C.LINK_CHARS_FRACTION] = (
        fraction(row[L.LINK_WORDS], num_words),
        fraction(row[L.LINK_CHARS], num_chars),
    )
    x[C.CHARS_PER_WORD], x[C.UPPER_FRACTION], x[C.DIGIT_FRACTION] = (
        fraction(num_chars, num_words),
        fraction(row[L.UPPER], num_chars),
        fraction(row[L.DIGITS], num_chars),
    )
    x[C.PUNCTUATION_FRACTION], x[C.COMMAS_PER_WORD], x[C.ENDS_PER_WORD] = (
        fraction(row[L.PUNCTUATION], num_chars),
        fraction(row[L.COMMAS], num_words),
        fraction(row[L.ENDS], num_words),
    )
    x[C.WIDE_FRACTION], x[C.BOLD_FRACTION] = (
        fraction(row[L.WIDE], num_words),
        fraction(row[L.BOLD_CHARS], num_chars),
    )
    x[C.BREAKS], x[C.IMAGES], x[C.INPUTS], x[C.LINKS] = (
        row[L.BREAKS],
        row[L.IMAGES],
        row[L.INPUTS] + row[L.BUTTONS],
        row[L.LINKS],
    )
    last = row[L.LAST_CHAR]
    x[C.ENDS_SENTENCE] = (
        1
        if last in (46, 33, 63, 0x3002, 0xFF01, 0xFF1F, 0x06D4, 0x0964)
        else (0.5 if last in (58, 34, 0x201D, 41, 0x2026) else 0)
    )
    x[C.TEXT_DENSITY] = fraction(num_chars, row[L.SOURCE_END] - previous_end)
    x[C.GAP_BYTES] = log(max(row[L.SOURCE_START] - previous_end, 0))
    x[C.TAG], x[C.DEPTH] = _tag_kind(tag), elements[element, L.DEPTH]
    x[C.HEADING_LEVEL] = tag - _H1 + 1 if _H1 <= tag <= _H6 else 0
    x[C.SOURCE_POSITION] = fraction(row[L.SOURCE_START], source_bytes)
    total, low, high, known = np.float32(0), np.float32(0), np.float32(0), 0
    for k in range(row[L.WORD_START], row[L.WORD_END]):
        value = odds(word_keys, word_values, words[k])
        total += value
        low, high = min(low, value), max(high, value)
        known += value != 0
    x[C.WORDS_ODDS_SUM], x[C.WORDS_ODDS_MEAN], x[C.WORDS_ODDS_MIN], x[C.WORDS_ODDS_MAX] = (
        total,
        fraction(total, known),
        low,
        high,
    )
    x[C.NAMES_OWN], x[C.NAMES_PARENT] = names[element, 0], names[elements[element, L.PARENT], 0]
    x[C.NAMES_SUM], x[C.NAMES_DECAYED], x[C.NAMES_MIN], x[C.NAMES_MAX] = (
        names[element, 1],
        names[element, 2],
        names[element, 3],
        names[element, 4],
    )
    inline = np.float32(0)
    for k in range(row[L.TOKEN_START], row[L.TOKEN_END]):
        inline += odds(name_keys, name_values, tokens[k])
    x[C.NAMES_INLINE] = inline
    for k in range(len(C.CONTEXTS)):
        x[C.FIRST_CONTEXT + k] = 1 if context & C.CONTEXTS[k] else 0


@njit_borrowing
def _around(x, b, blocks, elements, sums, last, best, shared_depth, num_words):
    """Fill the shares and link fractions of the elements that hold the block, and its place relative to the
    best subtree."""
    element = np.int64(blocks[b, L.ELEMENT])
    e = element
    for column in (C.ELEMENT_WORDS, C.PARENT_WORDS, C.GRANDPARENT_WORDS):
        x[column], x[column + 1] = log(sums[e, 0]), fraction(sums[e, 1], sums[e, 0])
        x[column + 2] = fraction(sums[e, 0], num_words)
        e = elements[e, L.PARENT]
    e, gap, container, half = element, 0, -1, -1
    while e > 0 and half < 0:
        if container < 0 and T.CONTEXT[elements[e, L.TAG]] & _CONTAINER:
            container = e
        if 2 * sums[e, 0] >= num_words:
            half = gap
        gap += 1
        e = elements[e, L.PARENT]
    while e > 0 and container < 0:
        if T.CONTEXT[elements[e, L.TAG]] & _CONTAINER:
            container = e
        e = elements[e, L.PARENT]
    container = max(container, 0)
    x[C.CONTAINER_SHARE], x[C.CONTAINER_LINK_FRACTION], x[C.HALF_GAP] = (
        fraction(sums[container, 0], num_words),
        fraction(sums[container, 1], sums[container, 0]),
        half,
    )
    x[C.IN_BEST] = 1 if best <= element <= last[best] else 0
    x[C.GAP_TO_BEST], x[C.GAP_OF_BEST] = (
        elements[element, L.DEPTH] - shared_depth[element],
        elements[best, L.DEPTH] - shared_depth[element],
    )
    x[C.BEST_SHARE], x[C.BEST_LINK_FRACTION] = (
        fraction(sums[best, 0], num_words),
        fraction(sums[best, 1], sums[best, 0]),
    )
    x[C.BEFORE_BEST], x[C.AFTER_BEST] = 1 if element < best else 0, 1 if element > last[best] else 0


@njit_borrowing
def _fill_around(x, blocks, elements, sums, last, best, shared_depth, num_words, groups, slots, siblings):
    """Fill what surrounds each block: its elements and the blocks that look like it."""
    for b in range(blocks.shape[0]):
        row = x[C.FIRST_AROUND :, b]
        _around(row, b, blocks, elements, sums, last, best, shared_depth, num_words)
        slot, element = slots[b], blocks[b, L.ELEMENT]
        row[C.ALIKE_COUNT], row[C.ALIKE_WORDS] = (
            log(groups[slot, 0]),
            fraction(groups[slot, 1], groups[slot, 0]),
        )
        row[C.ALIKE_LINK_FRACTION], row[C.ALIKE_SHARE] = (
            fraction(groups[slot, 2], groups[slot, 1]),
            fraction(groups[slot, 1], num_words),
        )
        row[C.SIBLINGS_ALIKE] = log(
            siblings[(elements[element, L.SIGNATURE] * 31 + elements[element, L.PARENT]) & (ALIKE_SLOTS - 1)]
        )
        row[C.CHILD_BLOCKS] = log(sums[elements[element, L.PARENT], 2])


@njit_borrowing
def _sequence(x, blocks, elements, best_title):
    """Fill, for all blocks, the distances along the page: to headings, to prose, to the title, and the words
    before."""
    num = blocks.shape[0]
    since_heading, since_prose, before, total = 99, 99, np.int64(0), np.int64(0)
    for b in range(num):
        total += blocks[b, L.WORDS]
    for b in range(num):
        heading = x[_IN_HEADING, b] > 0
        prose = blocks[b, L.WORDS] >= PROSE_WORDS and x[C.LINK_WORDS_FRACTION, b] <= PROSE_LINKS
        x[C.SINCE_HEADING, b], x[C.SINCE_PROSE, b] = since_heading, since_prose
        since_heading = 0 if heading else min(since_heading + 1, 99)
        since_prose = 0 if prose else min(since_prose + 1, 99)
        x[C.POSITION, b], x[C.WORDS_BEFORE, b], x[C.NUM_BEFORE, b], x[C.NUM_AFTER, b] = (
            fraction(b, num),
            fraction(before, total),
            log(b),
            log(num - 1 - b),
        )
        before += blocks[b, L.WORDS]
        x[C.FROM_TITLE, b] = min(max(b - best_title, -99), 99) if best_title >= 0 else -100
        x[C.SAME_ELEMENT_AS_PREVIOUS, b], x[C.SAME_PARENT_AS_PREVIOUS, b], x[C.SAME_ELEMENT_AS_NEXT, b] = (
            0,
            0,
            0,
        )
        if b > 0:
            here, there = blocks[b, L.ELEMENT], blocks[b - 1, L.ELEMENT]
            x[C.SAME_ELEMENT_AS_PREVIOUS, b] = here == there
            x[C.SAME_PARENT_AS_PREVIOUS, b] = elements[here, L.PARENT] == elements[there, L.PARENT]
            x[C.SAME_ELEMENT_AS_NEXT, b - 1] = here == there
    to_heading, to_prose = 99, 99
    for b in range(num - 1, -1, -1):
        x[C.TO_HEADING, b], x[C.TO_PROSE, b] = to_heading, to_prose
        to_heading = 0 if x[_IN_HEADING, b] > 0 else min(to_heading + 1, 99)
        to_prose = (
            0
            if blocks[b, L.WORDS] >= PROSE_WORDS and x[C.LINK_WORDS_FRACTION, b] <= PROSE_LINKS
            else min(to_prose + 1, 99)
        )
        near = np.int64(0)
        for other in range(max(b - 5, 0), min(b + 6, num)):
            if x[C.LINK_WORDS_FRACTION, other] <= PROSE_LINKS:
                near += blocks[other, L.WORDS]
        x[C.PROSE_NEAR, b] = log(near)


@njit_borrowing
def _page(x, blocks, elements, source_bytes, depth):
    """Fill what holds for the whole page into every row."""
    num_words, num_links, num_wide, prose_words, num_prose = (
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        0,
    )
    for b in range(blocks.shape[0]):
        words = blocks[b, L.WORDS]
        num_words += words
        num_links += blocks[b, L.LINK_WORDS]
        num_wide += blocks[b, L.WIDE]
        if words >= PROSE_WORDS and x[C.LINK_WORDS_FRACTION, b] <= PROSE_LINKS:
            prose_words += words
            num_prose += 1
    num_h1, num_articles, has_main = 0, 0, 0
    for e in range(elements.shape[0]):
        tag = elements[e, L.TAG]
        num_h1 += tag == _H1
        num_articles += tag == _ARTICLE_TAG
        has_main |= tag == _MAIN_TAG
    values = (
        log(num_words), log(blocks.shape[0]), fraction(num_links, num_words),
        fraction(prose_words, num_words), np.float32(num_prose), np.float32(num_h1),
        np.float32(num_articles), np.float32(has_main), fraction(num_wide, num_words), log(source_bytes),
    )  # fmt: skip
    for k in range(len(values)):
        x[C.FIRST_PAGE + k, : blocks.shape[0]] = values[k]
    for b in range(blocks.shape[0]):
        x[C.DEPTH_FROM_MEDIAN, b] = x[C.DEPTH, b] - depth
    return num_words


@njit_borrowing
def _beside(x, num):
    """Copy a few columns of the blocks before and after into each row; -1 beyond the page's ends."""
    for k in range(len(C.NEIGHBOURS)):
        offset = C.NEIGHBOURS[k]
        begin = min(max(-offset, 0), num)
        end = max(min(num - offset, num), begin)
        for j in range(len(C.BESIDE)):
            to, of = C.FIRST_BESIDE + k * len(C.BESIDE) + j, C.BESIDE[j]
            for b in range(begin):
                x[to, b] = -1
            for b in range(begin, end):
                x[to, b] = x[of, b + offset]
            for b in range(end, num):
                x[to, b] = -1


@njit(cache=True, nogil=True)
def measure(data, blocks, elements, tokens, words, marks, name_keys, name_values, word_keys, word_values):
    """Return the features of a page's blocks from what `tokenize` returned: float32 of shape (C.NUM_FEATURES,
    blocks filled up to a multiple of `trees.LANES`), a row each, as `trees` reads them."""
    num = blocks.shape[0]
    x = np.empty((C.NUM_FEATURES, (num + LANES - 1) // LANES * LANES), dtype=np.float32)
    x[:, num:] = 0
    if num == 0:
        return x
    num_elements = elements.shape[0]
    sums, last = np.zeros((num_elements, 3), dtype=np.int64), np.arange(num_elements)
    sum_elements(blocks, elements, sums, last)
    best = best_element(blocks, elements, sums, np.zeros(num_elements, dtype=np.float64))
    shared_depth = np.zeros(num_elements, dtype=np.int64)
    share_depth(elements, best, shared_depth)
    names = np.zeros((num_elements, 5), dtype=np.float32)
    name_odds(elements, tokens, name_keys, name_values, names)
    groups, slots, siblings = (
        np.zeros((ALIKE_SLOTS, 3), np.int32),
        np.empty(num, np.int64),
        np.zeros(ALIKE_SLOTS, np.int32),
    )
    alike(blocks, elements, groups, slots, siblings)
    size = 64
    while size < 2 * num:
        size *= 2
    count, repeated = np.zeros(num, dtype=np.int64), np.zeros(num, dtype=np.int64)
    copies(blocks, np.full(size, -1, dtype=np.int64), np.empty(num, dtype=np.int64), count, repeated)
    overlaps = np.zeros(num, dtype=np.float32)
    may_be = np.zeros(_TITLE_FILTER, dtype=np.uint8)
    best_title = title_overlaps(blocks, words, title_words(data, marks), may_be, overlaps)
    for b in range(num):
        _own(
            x,
            b,
            blocks,
            elements,
            tokens,
            words,
            names,
            name_keys,
            name_values,
            word_keys,
            word_values,
            data.size,
        )
        x[C.COPIES, b], x[C.IS_COPY, b], x[C.TITLE_OVERLAP, b] = count[b], repeated[b], overlaps[b]
    _sequence(x, blocks, elements, best_title)
    num_words = _page(
        x,
        blocks,
        elements,
        data.size,
        median_depth(blocks, elements, np.zeros(L.MAX_DEPTH + 2, dtype=np.int64)),
    )
    _fill_around(x, blocks, elements, sums, last, best, shared_depth, num_words, groups, slots, siblings)
    _beside(x, num)
    return x
