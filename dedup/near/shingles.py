"""From texts to shingles: hashed n-grams of words or characters.

A text of fewer than n words (but at least one) has one shingle, the hash of all of them with their number, so
that short texts are candidates only of their equals. A text without words has none, and is nobody's
duplicate.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, types

from gristmill.dedup.near.minhash import Bounds
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import U64, Numbers
from gristmill.text.cores import cores_of
from gristmill.text.points import finish

I64 = types.Array(types.int64, 1, "C")


@njit([U64(U64)], cache=True, nogil=True)
def _mixed(points):  # type: ignore[no-untyped-def]
    for i in range(len(points)):
        points[i] = finish(points[i] + np.uint64(1))
    return points


@njit([types.int64(U64, I64, types.int64, U64, I64)], cache=True, nogil=True)
def _ngrams(items, bounds, n, shingles, shingle_bounds):  # type: ignore[no-untyped-def]
    """Hash every n consecutive items of each document by a rolling polynomial mod 2^64 and MurmurHash3's
    finaliser."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    outgoing = np.uint64(1)
    for _ in range(n):
        outgoing *= factor
    width, count = np.uint64(n), np.uint64(0)
    for doc in range(len(bounds) - 1):
        shingle_bounds[doc] = np.int64(count)
        start, stop = np.uint64(bounds[doc]), np.uint64(bounds[doc + 1])
        h = np.uint64(0)
        full = min(start + width, stop)
        for i in range(start, full):
            h = h * factor + items[i]
        if start < stop:
            shingles[count] = finish(h if full == start + width else h + np.uint64(stop - start) * outgoing)
            count += np.uint64(1)
        for i in range(full, stop):
            h = h * factor + (items[i] - items[i - width] * outgoing)
            shingles[count] = finish(h)
            count += np.uint64(1)
    shingle_bounds[len(bounds) - 1] = np.int64(count)
    return np.int64(count)


def shingle_texts(settings: FuzzySettings, text: pa.ChunkedArray) -> tuple[Numbers, Bounds]:
    """Return the shingles of every text, in order and with repetitions: text i has
    shingles[bounds[i]:bounds[i + 1]]."""
    text = _cap(text.cast(pa.large_string()), settings.max_characters)
    if settings.scheme == "fineweb":
        from gristmill.dedup.near.fineweb import shingle_strings

        return shingle_strings(settings, text.to_pylist())
    return ngrams(
        *(cores_of(text) if settings.shingle == "words" else _character_items(text)), settings.ngram
    )


def ngrams(items: Numbers, bounds: Bounds, n: int) -> tuple[Numbers, Bounds]:
    """Hash every n consecutive items of each text; text i has hashes[bounds[i]:bounds[i + 1]]."""
    hashes, hash_bounds = np.empty(len(items) + len(bounds), np.uint64), np.empty(len(bounds), np.int64)
    count = _ngrams(items, bounds, n, hashes, hash_bounds)
    return hashes[:count], hash_bounds


def _cap(text: pa.ChunkedArray, max_characters: int) -> pa.ChunkedArray:
    longest = pc.max(pc.binary_length(text)).as_py()
    return pc.utf8_slice_codeunits(text, 0, max_characters) if (longest or 0) > max_characters else text


def _character_items(text: pa.ChunkedArray) -> tuple[Numbers, Bounds]:
    """Return code points, white space runs as one blank, case folded, and where each text begins."""
    folded = [" ".join((value or "").casefold().split()) for value in text.to_pylist()]
    points = np.frombuffer("".join(folded).encode("utf-32-le", "replace"), "<u4").astype(np.uint64)
    return _mixed(points), np.concatenate([[0], np.cumsum([len(value) for value in folded])]).astype(np.int64)
