"""Seeds of fuzzy passages: a sample of word n-grams that equal texts agree in, and links between places.

A seed is 8 folded words in a row whose least bigram is the first or the last one (a closed syncmer, Edgar
2021): it is chosen by its own words alone, so that every place that has these words has the seed, whatever
stands around; two in seven n-grams are, and any 14 words in a row hold one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.dedup.sorted.radix import U64, Numbers
from gristmill.text.kernel import kernel
from gristmill.text.points import finish
from gristmill.text.words import text_spans, words_of

SEED_WORDS = 8
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_I64 = types.Array(types.int64, 1, "C")
_U32 = types.Array(types.uint32, 1, "C")
_GRAMS = SEED_WORDS - 1


@dataclass(frozen=True)
class FoldedWords:
    """The words of a batch of texts that have a letter, mark or number, by the hash of their folded core;
    text i has words bounds[i]:bounds[i + 1], each from byte `start` to `end` of its text."""

    hashes: Numbers
    short: npt.NDArray[np.uint32]  # 32 bits of each hash, as alignment compares words
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]

    def part(self, text: int, first: int = 0, stop: int | None = None) -> npt.NDArray[np.uint32]:
        """Some words of a text, as alignment compares them."""
        low, high = int(self.bounds[text]), int(self.bounds[text + 1])
        return self.short[low + first : high if stop is None else low + stop]


def folded_words(text: pa.ChunkedArray) -> FoldedWords:
    words = words_of(text)
    base = np.asarray(text_spans(text)[0], np.int64)
    chosen = np.flatnonzero(words.core_end > words.core_start)
    bounds = np.searchsorted(chosen, words.rows).astype(np.int64)
    base = np.repeat(base, np.diff(bounds))
    hashes = words.hash_folded[chosen]
    places = (words.start[chosen] - base, words.end[chosen] - base)
    return FoldedWords(hashes, (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32), *places, bounds)


@kernel(types.int64(U64, _I64, U64, _I64, U64))
def _seeds(hashes, bounds, keys, places, grams):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(len(hashes) - 1):
        grams[i] = finish(hashes[i] * _FACTOR + hashes[i + 1])
    for doc in range(len(bounds) - 1):
        for i in range(bounds[doc], bounds[doc + 1] - SEED_WORDS + 1):
            least = grams[i]
            for place in range(i + 1, i + _GRAMS):
                least = min(least, grams[place])
            if grams[i] != least and grams[i + _GRAMS - 1] != least:
                continue
            h = np.uint64(0)
            for place in range(i, i + SEED_WORDS):
                h = h * _FACTOR + hashes[place]
            keys[count] = finish(h)
            places[count] = i
            count += 1
    return count


def seeds_of(words: FoldedWords) -> tuple[Numbers, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the key of every seed, the number of its text, and its first word's place in the text."""
    hashes = words.hashes
    keys, places = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
    count = _seeds(hashes, words.bounds, keys, places, np.empty(len(hashes), np.uint64))
    places = places[:count]
    doc = np.searchsorted(words.bounds, places, "right") - 1
    return keys[:count].copy(), doc, places - words.bounds[doc]


@kernel(types.int64(U64, U64, U64, _U32, types.boolean[::1], types.int64, _I64, _I64, _I64))
def _links(key, id_high, row, place, asks, most, heads, targets, sources):  # type: ignore[no-untyped-def]
    """Link places to the heads of their key; with no room in `targets`, count the links only."""
    count, low = 0, 0
    while low < len(key):
        num_heads, i = 0, low
        while i < len(key) and key[i] == key[low]:
            if num_heads < most and (i == low or row[i] != row[i - 1]):
                heads[num_heads] = i
                num_heads += 1
            if asks[i]:
                for number in range(num_heads):
                    head = heads[number]
                    if row[head] == row[i] and place[head] >= place[i]:
                        continue
                    if len(targets):
                        targets[count], sources[count] = i, head
                    count += 1
            i += 1
        low = i
    return count


def link_places(
    key: Numbers,
    id_high: Numbers,
    row: Numbers,
    place: npt.NDArray[np.uint32],
    asks: npt.NDArray[np.bool_],
    most: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Link each of the places that ask to those before it in the order: the first place in each of the first
    `most` documents that have the same key. Places are sorted by key, id, row and place."""
    heads, none = np.empty(most, np.int64), np.empty(0, np.int64)
    columns = (key, id_high, row, place, asks, most, heads)
    count = _links(*columns, none, none)
    targets, sources = np.empty(count, np.int64), np.empty(count, np.int64)
    if count:
        _links(*columns, targets, sources)
    return targets, sources


@kernel(types.int64(*[U64] * 3, *[_I64] * 2, *[types.int64] * 2, types.Array(types.int64, 2, "C")))
def _chains(target, source_id, source, t, s, gap, slip, found):  # type: ignore[no-untyped-def]
    """Collect links of one target and one source that go on from each other into chains of two and more; each
    is [index of its first link, first and last place in the target, in the source, number of links]."""
    room = 8  # chains of a pair that are open at a time
    count, low = 0, 0
    while low < len(target):
        opened = count
        i = low
        while i < len(target) and target[i] == target[low] and source[i] == source[low]:
            chosen = -1
            for place in range(count - 1, max(opened, count - room) - 1, -1):
                ahead = t[i] - found[place, 2]
                drift = (s[i] - t[i]) - (found[place, 4] - found[place, 2])
                if 0 < ahead <= gap and s[i] > found[place, 4] and -slip <= drift <= slip:
                    chosen = place
                    break
            if chosen < 0:
                chosen = count
                count += 1
                found[chosen, 0], found[chosen, 1], found[chosen, 3] = i, t[i], s[i]
                found[chosen, 5] = 0
            found[chosen, 2], found[chosen, 4] = t[i], s[i]
            found[chosen, 5] += 1
            i += 1
        whole = opened
        for place in range(opened, count):
            if found[place, 5] > 1:
                for column in range(6):
                    found[whole, column] = found[place, column]
                whole += 1
        count = whole
        low = i
    return count


def chain_links(
    target: Numbers,
    source_id: Numbers,
    source: Numbers,
    t: npt.NDArray[np.int64],
    s: npt.NDArray[np.int64],
    gap: int,
    slip: int,
) -> npt.NDArray[np.int64]:
    """Chains of links sorted by target, source's id, source and place in the target, see `_chains`."""
    found = np.empty((len(target), 6), np.int64)
    return found[: _chains(target, source_id, source, t, s, gap, slip, found)].copy()


@kernel(types.void(U64, types.Array(types.int64, 2, "C"), types.int64, _I64, types.boolean[::1]))
def _choose(target, chains, depth, covered, chosen):  # type: ignore[no-untyped-def]
    low = 0
    while low < len(target):
        i = low
        while i < len(target) and target[i] == target[low]:
            first, last = chains[i, 1], chains[i, 2]
            for place in range(first, last + 1):
                if covered[place] < depth:
                    chosen[i] = True
                    break
            if chosen[i]:
                for place in range(first, last + 1):
                    covered[place] += 1
            i += 1
        for done in range(low, i):
            for place in range(chains[done, 1], chains[done, 2] + 1):
                covered[place] = 0
        low = i


def choose_chains(target: Numbers, chains: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.bool_]:
    """Say which of a target's chains, best first, are read: those with a place that fewer than `depth`
    before them cover."""
    chosen = np.zeros(len(target), bool)
    if len(target):
        _choose(target, chains, depth, np.zeros(int(chains[:, 2].max()) + 1, np.int64), chosen)
    return chosen
