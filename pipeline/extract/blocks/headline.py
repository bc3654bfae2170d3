"""Keep the headline of an article: the block before its text that repeats the title of the page, and a lead.

Most of the gold that a model learns from begins behind the headline, so that it says no to most of them. Gold
of other hands begins with it (docs/extractor.md).
"""

# mypy: disable-error-code="no-untyped-def,assignment,operator"
from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing
from gristmill.pipeline.extract.blocks.surroundings import words_of

_MIN_RUN = 3  # words in a row that a headline has in common with the title
_OF_BLOCK, _OF_TITLE = 0.5, 0.3  # their share of either; titles also name site and section
_WHOLE = 0.9  # share of the block from which it is the headline itself, not a path that ends in it
_MAX_WORDS = 60
_MIN_PROBABILITY = 0.02  # below are the names of sites, tabs and teasers
_FAR = 30  # blocks before the first kept one: bylines, buttons and captions stand between
# What stands between headline and text is a lead if it has so many words, a digit or none, and no link.
_LEAD_WORDS, _LEAD_DIGITS, _LEAD_PROBABILITY, _LEAD_BLOCKS = 8, 3, 0.2, 2


@njit(cache=True, nogil=True)
def keep_headline(data, marks, blocks, words, probabilities, kept):
    """Keep, in place, the headline of what a page keeps, and a lead behind it.

    The headline is one block, kept or up to thirty blocks before the first kept one, that has a run of words
    in common with the page's title: at least three, half of the block and .3 of the title, or two that are
    all of the block and half of the title. Of several, it is the most probable of those with few words
    beside. A page that keeps nothing has none, and a block that only names the site is none.
    """
    first = 0
    while first < kept.size and not kept[first]:
        first += 1
    if first == kept.size:
        return
    headline, runs = -1, np.empty(L.MAX_BLOCK_WORDS + 1, dtype=np.int64)
    for kind in (L.MARK_OG_TITLE, L.MARK_TITLE):
        if headline < 0:
            title = words_of(data, marks, kind)
            headline = _most_like(blocks, words, probabilities, kept, first, title, runs)
    if headline >= 0 and not kept[headline]:
        site = words_of(data, marks, L.MARK_SITE_NAME)
        headline = -1 if _share(blocks, words, headline, site, runs) >= _WHOLE else headline
    if headline < 0:
        return
    kept[headline] = True
    for b in range(headline + 1, min(headline + 1 + _LEAD_BLOCKS, kept.size)):
        if kept[b]:
            break
        # A character of wide scripts counts as a word, two are about one.
        num_words = blocks[b, L.WORDS] - blocks[b, L.WIDE] // 2
        kept[b] = (
            b < first
            and probabilities[b] >= _LEAD_PROBABILITY
            and num_words >= _LEAD_WORDS
            and blocks[b, L.LINK_WORDS] == 0
            and blocks[b, L.DIGITS] <= _LEAD_DIGITS
        )


@njit_borrowing
def _most_like(blocks, words, probabilities, kept, first, title, runs):
    """Return the block that may be the headline above the first kept block, -1 where there is none."""
    headline, best = -1, 0.0
    for b in range(max(first - _FAR, 0), min(first + 2, kept.size)):
        if blocks[b, L.WORDS] > _MAX_WORDS or not (
            kept[b] or (b < first and probabilities[b] >= _MIN_PROBABILITY)
        ):
            continue
        share = _share(blocks, words, b, title, runs)
        if share > 0:
            likeness = 2.0 if kept[b] else probabilities[b] + (share >= _WHOLE)
            if likeness > best:
                headline, best = b, likeness
    return headline


@njit_borrowing
def _share(blocks, words, b, title, runs):
    """Return the share of a block's words in the longest run it has in common with a title, 0 where that is
    too short for one that repeats it."""
    runs[: title.size + 1] = 0
    longest = 0
    for k in range(blocks[b, L.WORD_START], blocks[b, L.WORD_END]):
        for j in range(title.size - 1, -1, -1):  # backwards, so that runs[j] is still of the word before
            runs[j + 1] = runs[j] + 1 if title[j] == words[k] else 0
            longest = max(longest, runs[j + 1])
    own = max(np.int64(blocks[b, L.WORDS]), 1)
    is_short = longest == own == _MIN_RUN - 1 and 2 * longest >= title.size
    if (longest < _MIN_RUN and not is_short) or longest < _OF_TITLE * title.size:
        return 0.0
    share = longest / min(own, L.MAX_BLOCK_WORDS)
    return share if share >= _OF_BLOCK else 0.0
