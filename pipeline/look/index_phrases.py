"""Phrases of frequent words, by the places that a text index keeps of them (`phases.indexing`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from gristmill.pipeline.phases.indexing.index_places import BLOCK_DOCS, UNIT_BITS, opened

_Kept = tuple[int, bytes, bytes]  # as `index_places.shut` wrote them


@dataclass(slots=True)
class Places:
    """Where frequent words stand in one file of an index. The room for a block's places is used again: to be
    given new pages for every block took longer than to fill them."""

    base: sqlite3.Connection
    _room: np.ndarray = field(default_factory=lambda: np.empty(0, bool))

    def phrase(self, terms: tuple[str, ...], block: int) -> np.ndarray:
        """Which documents of a block that holds all of these words hold them one behind another."""
        asked = "SELECT low_bytes, low, in_runs FROM frequent WHERE term = ? AND block = ?"
        kept: dict[str, _Kept] = {
            term: self.base.execute(asked, (term, block)).fetchone() for term in dict.fromkeys(terms)
        }
        (written,) = self.base.execute("SELECT units FROM blocks WHERE block = ?", (block,)).fetchone()
        units = np.frombuffer(written, "<u4")
        doc_of = np.repeat(np.arange(len(units), dtype=np.int32), units)  # by unit
        if any(low_bytes for low_bytes, _, _ in kept.values()):
            at = self._by_places(terms, kept, len(doc_of) << UNIT_BITS) >> UNIT_BITS
        else:
            at = _by_bits(terms, kept, len(doc_of) << UNIT_BITS)
        holds = np.zeros(BLOCK_DOCS, bool)
        holds[doc_of[at]] = True
        return holds

    def _by_places(self, terms: Sequence[str], kept: dict[str, _Kept], num_places: int) -> np.ndarray:
        """Where the phrase begins: the places of its rarest word, less those with another word beside it."""
        places = {term: opened(*facts) for term, facts in kept.items() if facts[0]}
        rarest = min(places, key=lambda term: len(places[term]))
        anchor = terms.index(rarest)
        at = places[rarest] - anchor
        for term in sorted(kept, key=lambda term: len(kept[term][1])):
            offsets = [offset for offset, other in enumerate(terms) if other == term and offset != anchor]
            if not offsets or not len(at):
                continue
            # A place before 0 is read at the end, where no word stands.
            if term in places:
                stands = self._empty(num_places + len(terms))
                stands[places[term]] = True
                held = stands.__getitem__
            else:
                held = partial(_is_set, _padded(kept[term][1], num_places // 64 + len(terms) // 64 + 2))
            for offset in offsets:
                at = np.compress(held(at + offset), at)  # faster than to index by the mask
        return at

    def _empty(self, number: int) -> np.ndarray:
        if len(self._room) < number:
            self._room = np.empty(number, bool)
        self._room[:number] = False
        return self._room[:number]


def _by_bits(terms: Sequence[str], kept: dict[str, _Kept], num_places: int) -> np.ndarray:
    """The units that a phrase begins in: each word's bits, moved to where the phrase would begin."""
    num_words = num_places // 64 + 2
    begins = np.full(num_words, -1, np.int64).view("<u8")
    for term in kept:
        bits = _padded(kept[term][1], num_words + len(terms) // 64 + 1)
        for offset, other in enumerate(terms):
            if other == term:
                words, rest = divmod(offset, 64)
                moved = bits[words : words + num_words]
                if rest:
                    following = bits[words + 1 : words + num_words + 1]
                    moved = moved >> np.uint64(rest) | following << np.uint64(64 - rest)
                begins &= moved
    return np.flatnonzero(begins.view("<u2") != 0)


def _padded(bits: bytes, num_words: int) -> np.ndarray:
    """Bits as words of 64, with none set behind the last."""
    words = np.zeros(num_words, "<u8")
    words.view(np.uint8)[: len(bits)] = np.frombuffer(bits, np.uint8)
    return words


def _is_set(words: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether bits are set; to look at bytes is faster than to unpack all."""
    held = words.view(np.uint8)[at >> 3]
    held >>= (at & 7).astype(np.uint8)
    held &= 1
    is_set: np.ndarray = held.view(bool)
    return is_set
