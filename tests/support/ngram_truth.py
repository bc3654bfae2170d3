"""N-grams counted one by one, and the key that the table knows each by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.text.words import words_of


def hashes_of(text: str) -> list[int]:
    """The hashes of a text's words that have a core."""
    words = words_of(pa.array([text], pa.large_string()))
    return [int(value) for value in words.hash_folded[words.core_chars > 0]]


def brute_force(texts: list[str], order: int = 5) -> Counter[tuple[int, ...]]:
    """Count n-grams one by one, as tuples of word hashes."""
    found: Counter[tuple[int, ...]] = Counter()
    for text in texts:
        words = hashes_of(text)
        for length in range(1, order + 1):
            found.update(tuple(words[i : i + length]) for i in range(len(words) - length + 1))
    return found


def key(gram: tuple[int, ...]) -> int:
    state = np.zeros(1, np.uint64)
    for word in gram:
        state = ngrams.extend(state, np.array([word], np.uint64))
    return int(ngrams.finish(state, len(gram))[0])
