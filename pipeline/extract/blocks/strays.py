"""Tell what a page keeps beside its main text by the page itself: teasers of other pages, and pieces that lie
apart.

The classifier sees a block and what is near it. What these two rules see is the page's choice: blocks of
which it is much less sure than of the rest, and which look or lie unlike it. They lose odds, and the page is
cut anew; where the rest is no surer than they are, as in listings and threads, nothing changes.
"""

# mypy: disable-error-code="no-untyped-def,assignment,operator"
from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing, wrapping_product
from gristmill.pipeline.extract.blocks.cut import choose
from gristmill.pipeline.extract.blocks.sureness import by_sureness, times_odds
from gristmill.pipeline.extract.blocks.surroundings import PROSE_LINKS

# All by cross-validation; of those tried beside them (.1 and .2 for teasers, .32 and .4, gaps of 4 and 8
# blocks, a half, 250 words, half and twice the odds) none changes F1 by more than .0005.
_LOST_ODDS = 3.0
_MIN_TITLE_WORDS, _MIN_TEASER_WORDS, _MAX_ITEM_WORDS = 3, 6, 100
_MIN_ITEMS = 3  # that look the same
_TITLE_LINKS = 0.9  # of a teaser's title, share of the words that are a link
_MIN_REST_WORDS, _MIN_REST = 30, 0.1  # words kept beside teasers, and their share of all
_LESS_SURE_TEASERS = 0.15  # mean probability by words, below that of the rest
_GAP = 6  # blocks that are not kept, from which what follows lies apart
_LESS_SURE_APART, _MIN_MAIN, _MAX_APART_WORDS = 0.35, 0.35, 500
_SLOTS = 1024
_MAX_CLIMB, _MAX_ITEM_BLOCKS = 12, 24


@njit(cache=True, nogil=True)
def settle(probabilities, blocks, elements, repeated, recall_weight):
    """Return which blocks of a page to keep, bool: what `cut.choose` chooses by the odds that `sureness`
    sets, without strays.

    Teasers are items that look the same, at least three, of a link of three words or more and a text of six
    or more. What lies apart is a run of kept blocks of at most 500 words and no code, more than six blocks
    from the run with the most words. Both lose three of their log-odds where they are less probable than the
    rest, by .15 and .35. The block behind the last one stays if it was chosen by its own odds: texts end in
    short lines.
    """
    chosen = choose(probabilities, blocks, repeated, recall_weight)
    probabilities = by_sureness(probabilities, blocks, chosen)
    kept = choose(probabilities, blocks, repeated, recall_weight)
    doubted = np.zeros(kept.size, dtype=np.bool_)
    if _teasers(blocks, elements, kept, doubted) and _less_sure(blocks, probabilities, kept, doubted):
        probabilities = _lower(probabilities, doubted)
        kept = choose(probabilities, blocks, repeated, recall_weight)
    doubted[:] = False
    if _apart(blocks, elements, probabilities, kept, doubted):
        kept = choose(_lower(probabilities, doubted), blocks, repeated, recall_weight)
    last = kept.size - 1
    while last >= 0 and not kept[last]:
        last -= 1
    if 0 <= last < kept.size - 1:
        kept[last + 1] = chosen[last + 1]
    return kept


@njit(cache=True, nogil=True)
def _lower(probabilities, doubted):
    """Take `_LOST_ODDS` from the log-odds of some blocks."""
    lowered = probabilities.copy()
    factor = np.float32(np.exp(-_LOST_ODDS))
    for b in range(doubted.size):
        if doubted[b]:
            lowered[b] = times_odds(lowered[b], factor)
    return lowered


@njit(cache=True, nogil=True)
def _teasers(blocks, elements, kept, doubted):
    """Mark the titles and texts of teasers; tell whether some are kept."""
    num, some = blocks.shape[0], 0
    for b in range(1, num):
        some += (
            kept[b] and _is_text(blocks, b) and (_is_title(blocks, b - 1) or _is_title(blocks, max(b - 2, 0)))
        )
    if some == 0:
        return False
    counts, last_item = np.zeros(_SLOTS, dtype=np.int32), np.zeros(_SLOTS, dtype=np.int32)
    slots, titles = np.full(num, -1, dtype=np.int32), np.empty(num, dtype=np.int32)
    for b in range(1, num):
        if not _is_text(blocks, b):
            continue
        for a in range(b - 1, max(b - 3, -1), -1):
            item = _item(blocks, elements, a, b) if _is_title(blocks, a) else np.int64(0)
            if item > 0:
                slot = _slot(blocks, elements, a, b, item)
                counts[slot] += last_item[slot] != item
                last_item[slot], slots[b], titles[b] = item, slot, a
                break
    some = 0
    for b in range(num):
        if slots[b] >= 0 and counts[slots[b]] >= _MIN_ITEMS:
            doubted[b] = doubted[titles[b]] = True
            some += kept[b]
    return some > 0


@njit_borrowing
def _slot(blocks, elements, a, b, item):
    """Hash what the elements around a title and a text look like."""
    own, other = np.int64(blocks[b, L.ELEMENT]), np.int64(blocks[a, L.ELEMENT])
    key = wrapping_product(elements[own, L.SIGNATURE], 1000003)
    key = wrapping_product(key + elements[elements[own, L.PARENT], L.SIGNATURE], 1000003)
    key = wrapping_product(key + elements[other, L.SIGNATURE], 1000003) + elements[item, L.SIGNATURE]
    return (key ^ (key >> 29)) & (_SLOTS - 1)


@njit_borrowing
def _is_text(blocks, b):
    words = blocks[b, L.WORDS]
    return words >= _MIN_TEASER_WORDS and blocks[b, L.LINK_WORDS] <= PROSE_LINKS * words


@njit_borrowing
def _is_title(blocks, a):
    words = blocks[a, L.WORDS]
    return words >= _MIN_TITLE_WORDS and blocks[a, L.LINK_WORDS] >= _TITLE_LINKS * words


@njit_borrowing
def _item(blocks, elements, a, b):
    """Return the innermost element around two blocks, 0 where it lies far from them or holds many words."""
    x, y, steps = np.int64(blocks[a, L.ELEMENT]), np.int64(blocks[b, L.ELEMENT]), 0
    while x != y and steps < _MAX_CLIMB:
        if x > y:
            x = elements[x, L.PARENT]
        else:
            y = elements[y, L.PARENT]
        steps += 1
    if x != y:
        return np.int64(0)
    words, first, end = 0, a, a
    for c in range(a, min(a + _MAX_ITEM_BLOCKS, blocks.shape[0])):
        if not _within(elements, np.int64(blocks[c, L.ELEMENT]), x):
            break
        words, end = words + blocks[c, L.WORDS], c
    for c in range(a - 1, max(a - _MAX_ITEM_BLOCKS, -1), -1):
        if not _within(elements, np.int64(blocks[c, L.ELEMENT]), x):
            break
        words, first = words + blocks[c, L.WORDS], c
    is_small = words <= _MAX_ITEM_WORDS and end - first < _MAX_ITEM_BLOCKS - 1
    return x if is_small else np.int64(0)


@njit_borrowing
def _within(elements, element, outer):
    """Tell whether an element is another one or lies in it; parents have lower numbers."""
    steps = 0
    while element > outer and steps < _MAX_CLIMB:
        element = elements[element, L.PARENT]
        steps += 1
    return element == outer


@njit_borrowing
def _less_sure(blocks, probabilities, kept, doubted):
    """Tell whether the page keeps enough beside the doubted blocks and is surer of it than of them."""
    words, gain, rest, rest_gain = np.int64(0), 0.0, np.int64(0), 0.0
    for b in range(kept.size):
        own = np.int64(blocks[b, L.WORDS]) if kept[b] else np.int64(0)
        if doubted[b]:
            words, gain = words + own, gain + probabilities[b] * own
        else:
            rest, rest_gain = rest + own, rest_gain + probabilities[b] * own
    if words == 0 or rest < max(_MIN_REST_WORDS, _MIN_REST * (rest + words)):
        return False
    return rest_gain / rest - gain / words >= _LESS_SURE_TEASERS


@njit_borrowing
def _apart(blocks, elements, probabilities, kept, doubted):
    """Mark the runs of kept blocks that lie apart from the one with the most words, where that has a third of
    all and is much surer; tell whether there are any."""
    num, total, most, most_mean, main = kept.size, 0, 0, 0.0, -1
    start = 0
    while start < num:
        if kept[start]:
            end, words, mean = _run(blocks, probabilities, kept, start)
            total += words
            if words > most:
                most, most_mean, main = words, mean, start
            start = end
        start += 1
    some, start = False, 0
    while start < num and most >= _MIN_MAIN * total:
        if kept[start]:
            end, words, mean = _run(blocks, probabilities, kept, start)
            is_apart = start != main and words <= _MAX_APART_WORDS and most_mean - mean >= _LESS_SURE_APART
            if is_apart and not _holds_code(blocks, elements, kept, start, end):
                some = True
                for b in range(start, end + 1):
                    doubted[b] = kept[b]
            start = end
        start += 1
    return some


@njit_borrowing
def _holds_code(blocks, elements, kept, start, end):
    """Tell whether some of a run's kept blocks are code: examples lie far apart, and the trees doubt them."""
    some = False
    for b in range(start, end + 1):
        some |= kept[b] and elements[blocks[b, L.ELEMENT], L.CONTEXT] & T.PRE > 0
    return some


@njit_borrowing
def _run(blocks, probabilities, kept, start):
    """Return the last kept block of the run that begins at a kept one, its words, and their mean
    probability."""
    end, words, gain = start, np.int64(0), 0.0
    b = start
    while b < kept.size and b - end <= _GAP:
        if kept[b]:
            end = b
            words += blocks[b, L.WORDS]
            gain += probabilities[b] * np.float64(blocks[b, L.WORDS])
        b += 1
    return end, words, gain / max(words, 1)
