"""Label the blocks of a page by its gold: the share of a block's words in the main text, or what snippets say
of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks.training.scores import (
    SHINGLE_WORDS,
    as_one_line,
    shingles,
    split_words,
)

_MAX_PAGE_WEIGHT = 3.0  # in gold texts: keeps pages with a lot beside little gold from ruling the fit
_NEAR_WORDS = 100  # on each side of a place, to tell the text itself from a teaser that repeats its words
_SNIPPET_WEIGHT = 0.5  # of a block that a snippet tells of; a whole gold text weighs about one
_MAX_SNIPPET_WEIGHT = 2.5  # of a page
_MIN_SNIPPET_FRACTION = 0.3  # of a block's characters an unwanted snippet must be, if shorter than:
_LONG_SNIPPET_CHARS = 40
_MIN_PART_CHARS = 30  # a block may also be a part of a wanted snippet, if it is no shorter

Labels = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def label_blocks(texts: Sequence[str], gold: str) -> Labels:
    """Return (labels, weights) of a page's blocks.

    A word is gold when a 4-gram of the page that covers it is in the gold text; 4-grams run across blocks, so
    that short blocks are judged with their neighbours. Each 4-gram counts as often as it is in the gold,
    where most of what is around it is gold too. A block too short for that counts when it is a whole line of
    the gold among other gold blocks. A block's weight is its words over the gold's, and the weights of a page
    are capped in sum.
    """
    words_of = [split_words(text) for text in texts]
    gold_words = split_words(gold)
    covered = _gold_words([word for block in words_of for word in block], gold_words)
    lines = {tuple(split_words(line)) for line in gold.splitlines()}
    ends = np.cumsum([len(block) for block in words_of], dtype=np.int64)
    labels = np.zeros(len(texts))
    for b, block in enumerate(words_of):
        if block:
            labels[b] = covered[ends[b] - len(block) : ends[b]].mean()
    positive = np.flatnonzero(labels > 0.5)
    if len(positive):
        for b in range(positive[0], positive[-1] + 1):
            if len(words_of[b]) < SHINGLE_WORDS and labels[b] < 1 and tuple(words_of[b]) in lines:
                labels[b] = 1.0
    lengths = np.array([len(block) for block in words_of], dtype=np.float64)
    weights = (lengths + 1) / (len(gold_words) + 20)
    return labels, weights * min(1.0, _MAX_PAGE_WEIGHT / max(weights.sum(), 1e-9))


def _gold_words(words: Sequence[str], gold_words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Tell which words of a page lie in a 4-gram of the gold."""
    wanted = shingles(gold_words)
    places: dict[tuple[str, ...], list[int]] = {}
    is_hit = np.zeros(len(words) + 1, dtype=np.int64)
    for i, shingle in enumerate(zip(*(words[k:] for k in range(SHINGLE_WORDS)), strict=False)):
        if shingle in wanted:
            places.setdefault(shingle, []).append(i)
            is_hit[i + 1] = 1
    hits = np.cumsum(is_hit)
    covered = np.zeros(len(words), dtype=bool)

    def hits_near(i: int) -> int:
        return int(hits[max(i - _NEAR_WORDS, 0)] - hits[min(i + _NEAR_WORDS, len(words))])

    for shingle, found in places.items():
        for i in sorted(found, key=hits_near)[: wanted[shingle]]:
            covered[i : i + SHINGLE_WORDS] = True
    return covered


def label_snippets(texts: Sequence[str], wanted: Sequence[str], unwanted: Sequence[str]) -> Labels:
    """Return (labels, weights) of a page's blocks: those that hold a wanted or an unwanted snippet, weight 0
    for all others."""
    blocks = [as_one_line(text) for text in texts]
    inside, outside = (
        [as_one_line(text) for text in wanted if text],
        [as_one_line(text) for text in unwanted if text],
    )
    labels, weights = np.zeros(len(texts)), np.zeros(len(texts))
    for b, block in enumerate(blocks):
        positive = any(
            snippet in block or (len(block) >= _MIN_PART_CHARS and block in snippet) for snippet in inside
        )
        negative = any(
            snippet in block and len(snippet) >= min(_MIN_SNIPPET_FRACTION * len(block), _LONG_SNIPPET_CHARS)
            for snippet in outside
        )
        if block and positive != negative:
            labels[b], weights[b] = float(positive), _SNIPPET_WEIGHT
    return labels, weights * min(1.0, _MAX_SNIPPET_WEIGHT / max(weights.sum(), 1e-9))
