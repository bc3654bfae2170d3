"""Sum over a page what its blocks are measured against: subtrees, class names, blocks that look alike, the
title, copies."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def,assignment"
import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing, wrapping_product
from gristmill.pipeline.extract.blocks.tags import FNV_START
from gristmill.pipeline.extract.blocks.writing import end_word, write_run

PROSE_WORDS, PROSE_LINKS = (
    15,
    0.34,
)  # a block of prose: at least so many words, at most so many of them in links
ALIKE_SLOTS = 4096
_DECAY = 0.6
_LOGS = np.log1p(np.arange(4096)).astype(np.float32)


@njit_borrowing
def odds(keys, values, key):
    """Look a hashed name up in a table of log-odds; the full hash is compared, so that an unknown name counts
    zero."""
    slot = key & (keys.size - 1)
    return values[slot] if keys[slot] == key else np.float32(0)


@njit_borrowing
def fraction(part, whole):
    return np.float32(part) / np.float32(whole) if whole > 0 else np.float32(0)


@njit_borrowing
def log(value):
    """Return log(1 + value) of a count, from a table where it is small."""
    return _LOGS[value] if value < _LOGS.size else np.float32(np.log(1.0 + value))


@njit_borrowing
def sum_elements(blocks, elements, sums, last):
    """Sum words, link words and blocks over each element's subtree, and find each subtree's last element.

    Children come after their parents, so that one backward pass is enough.
    """
    num = elements.shape[0]
    for b in range(blocks.shape[0]):
        e = blocks[b, L.ELEMENT]
        sums[e, 0] += blocks[b, L.WORDS]
        sums[e, 1] += blocks[b, L.LINK_WORDS]
        sums[e, 2] += 1
    for e in range(num - 1, 0, -1):
        parent = elements[e, L.PARENT]
        for k in range(3):
            sums[parent, k] += sums[e, k]
        last[parent] = max(last[parent], last[e])


@njit_borrowing
def best_element(blocks, elements, sums, scores):
    """Return the element that readability's scoring prefers: paragraphs score for their parent, by half for
    its parent."""
    for b in range(blocks.shape[0]):
        words, links = blocks[b, L.WORDS], blocks[b, L.LINK_WORDS]
        if words < PROSE_WORDS or links > PROSE_LINKS * words:
            continue
        score = 1.0 + blocks[b, L.COMMAS] + min(blocks[b, L.CHARS] / 100.0, 3.0)
        element = blocks[b, L.ELEMENT]
        if elements[element, L.CONTEXT] & T.PARAGRAPH:
            element = elements[element, L.PARENT]
        scores[element] += score
        scores[elements[element, L.PARENT]] += 0.5 * score
    best, most = 0, 0.0
    for e in range(1, elements.shape[0]):
        if scores[e] > most:
            score = scores[e] * (1.0 - fraction(sums[e, 1], sums[e, 0]))
            if score > most:
                best, most = e, score
    return best


@njit_borrowing
def name_odds(elements, tokens, keys, values, names):
    """Sum the log-odds of each element's class names: own, and over its ancestors (sum, decayed sum, min,
    max)."""
    for e in range(1, elements.shape[0]):
        parent = elements[e, L.PARENT]
        own, low, high = np.float32(0), names[parent, 3], names[parent, 4]
        for k in range(elements[e, L.TOKENS_START], elements[e, L.TOKENS_END]):
            value = odds(keys, values, tokens[k])
            own += value
            low, high = min(low, value), max(high, value)
        names[e, 0], names[e, 1] = own, names[parent, 1] + own
        names[e, 2] = np.float32(_DECAY) * names[parent, 2] + own
        names[e, 3], names[e, 4] = low, high


@njit_borrowing
def alike(blocks, elements, table, slots, siblings):
    """Sum blocks, words and link words over blocks whose three innermost elements look the same; slot of each
    block."""
    for b in range(blocks.shape[0]):
        element, key = np.int64(blocks[b, L.ELEMENT]), np.int64(0)
        for _ in range(3):
            key = wrapping_product(key, 1000003) + elements[element, L.SIGNATURE]
            element = elements[element, L.PARENT]
        slot = (key ^ (key >> 29)) & (ALIKE_SLOTS - 1)
        slots[b] = slot
        table[slot, 0] += 1
        table[slot, 1] += blocks[b, L.WORDS]
        table[slot, 2] += blocks[b, L.LINK_WORDS]
    for e in range(1, elements.shape[0]):
        siblings[(elements[e, L.SIGNATURE] * 31 + elements[e, L.PARENT]) & (ALIKE_SLOTS - 1)] += 1


@njit(cache=True, nogil=True)
def title_words(data, marks):
    """Hash the words of the page's title."""
    title = words_of(data, marks, L.MARK_OG_TITLE)
    return title if title.size > 0 else words_of(data, marks, L.MARK_TITLE)


@njit(cache=True, nogil=True)
def words_of(data, marks, kind):
    """Hash the words of the first mark of a kind that has some, as those of blocks are."""
    words = np.zeros(L.MAX_BLOCK_WORDS, dtype=np.int32)
    for m in range(marks.shape[0]):
        if marks[m, 0] == kind and marks[m, 2] > marks[m, 1]:
            state = np.zeros(L.NUM_STATE, dtype=np.int64)
            state[L.WORD_HASH] = FNV_START
            blocks = np.zeros((1, L.NUM_BLOCK_COLUMNS), dtype=np.int32)
            text = np.empty(2 * (marks[m, 2] - marks[m, 1]) + 64, dtype=np.uint8)
            write_run(data, marks[m, 1], marks[m, 2], False, np.int64(0), text, blocks, words, state)
            end_word(np.int64(0), blocks, words, state)
            if state[L.NUM_WORDS] > 0:
                return words[: state[L.NUM_WORDS]]
    return words[:0]


@njit_borrowing
def title_overlaps(blocks, words, title, may_be, overlaps):
    """Fill in the share of the title's words in each block, discounted for blocks longer than the title;
    return the best block. `may_be`, a power of two of zeros, becomes the filter of its words."""
    for k in range(title.size):
        may_be[title[k] & (may_be.size - 1)] = 1
    best, most = -1, np.float32(0.3)
    for b in range(blocks.shape[0]):
        shared, length = 0, blocks[b, L.WORD_END] - blocks[b, L.WORD_START]
        for k in range(blocks[b, L.WORD_START], blocks[b, L.WORD_END]):
            if may_be[words[k] & (may_be.size - 1)]:
                for j in range(title.size):
                    if title[j] == words[k]:
                        shared += 1
                        break
        overlaps[b] = fraction(shared, max(length, title.size))
        if overlaps[b] > most + 0.05:
            best, most = b, overlaps[b]
    return best


@njit_borrowing
def copies(blocks, slot_of, first, count, repeated):
    """Count the blocks of the same text, and tell which are not the first."""
    num, size = blocks.shape[0], slot_of.size
    for b in range(num):
        slot = (blocks[b, L.HASH] ^ (blocks[b, L.HASH] >> 15)) & (size - 1)
        while slot_of[slot] >= 0 and (
            blocks[slot_of[slot], L.HASH] != blocks[b, L.HASH]
            or blocks[slot_of[slot], L.CHARS] != blocks[b, L.CHARS]
        ):
            slot = (slot + 1) & (size - 1)
        if slot_of[slot] < 0:
            slot_of[slot] = b
        else:
            repeated[b] = 1
        first[b] = slot_of[slot]
        count[first[b]] += 1
    for b in range(num):
        count[b] = count[first[b]]


@njit_borrowing
def share_depth(elements, best, shared_depth):
    """Find for each element the depth of the innermost ancestor it shares with the best one."""
    e = best
    while e > 0:
        shared_depth[e] = elements[e, L.DEPTH]
        e = elements[e, L.PARENT]
    for e in range(1, elements.shape[0]):
        if shared_depth[e] == 0:
            shared_depth[e] = shared_depth[elements[e, L.PARENT]]


@njit_borrowing
def median_depth(blocks, elements, counts):
    """Return the depth that half of the blocks do not exceed."""
    for b in range(blocks.shape[0]):
        counts[elements[blocks[b, L.ELEMENT], L.DEPTH]] += 1
    seen, depth = 0, 0
    while 2 * (seen + counts[depth]) < blocks.shape[0]:
        seen += counts[depth]
        depth += 1
    return depth
