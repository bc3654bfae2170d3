"""Vectors of texts by their words alone: no order, no network, learned from the corpus itself.

A vector has two parts, each of unit length before they are weighed: the words themselves, by a random sign
in each of 256 places that follows from a word's hash (so that the dot product is about the cosine of TF-IDF),
and what the words stand beside, by vectors learned from the corpus (see `context`), less their mean. Sums are
of whole numbers: they have no order and no rounding, so that bytes are the same wherever a model is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.dedup.below.seeds import folded_words
from gristmill.dedup.sorted.radix import U64, Numbers
from gristmill.dedup.sorted.runs import SortedRun, write_run
from gristmill.text.kernel import kernel
from gristmill.text.points import finish

OWN, CONTEXT = 256, 128  # places of either part
SIZE = OWN + CONTEXT
LENGTH = 400  # of a vector of int8: products of two are below 2^24, which float32 adds exactly
IDF_UNIT = 256
_TERMS = np.round(16 * (1 + np.log2(np.maximum(np.arange(4096), 1)))).astype(np.int64)  # by times in a text
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
UNIT = 1024.0  # of a text's context part before the mean is taken off
_I64 = types.Array(types.int64, 1, "C")
_F64 = types.Array(types.float64, 1, "C")
_I8 = types.Array(types.int8, 2, "C", readonly=True)
Vectors = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Model:
    """Words by rising hash, each with its inverse document frequency in units and its context vector; the
    mean of texts' context parts; centroids of clusters, a power of two of them."""

    words: Numbers
    idf: npt.NDArray[np.int64]
    unknown_idf: int
    contexts: Vectors
    mean: npt.NDArray[np.int64]
    centroids: Vectors
    context_share: float

    def write(self, out: Path) -> None:
        scalars = np.array([self.unknown_idf, round(self.context_share * 1000)], np.int64)
        vectors = {"contexts": self.contexts.reshape(-1), "centroids": self.centroids.reshape(-1)}
        write_run(
            out, {"words": self.words, "idf": self.idf, "scalars": scalars, "mean": self.mean, **vectors}
        )

    @classmethod
    def read(cls, path: Path) -> Model:
        run = SortedRun(path)
        columns = {name: np.array(column) for name, column in run.columns.items()}
        unknown, share = columns["scalars"].tolist()
        return cls(
            np.array(run.key),
            columns["idf"],
            unknown,
            columns["contexts"].reshape(-1, CONTEXT),
            columns["mean"],
            columns["centroids"].reshape(-1, SIZE),
            share / 1000,
        )


@kernel(types.void(U64, _I64, _I64, U64, _I64, types.int64, _I8, _I64, _F64, _I64, _F64, _F64))
def _embed(hashes, bounds, terms, words, idf, unknown, contexts, mean, weights, sums, out, norms):  # type: ignore[no-untyped-def]
    """Add up the words of each text, whose hashes are in order; `out` holds unit vectors times their weights,
    SIZE places a text, `norms` nothing where a text has no words."""
    for doc in range(len(bounds) - 1):
        sums[:] = 0
        place = bounds[doc]
        known = 0
        while place < bounds[doc + 1]:
            word, first = hashes[place], place
            while place < bounds[doc + 1] and hashes[place] == word:
                place += 1
            while known < len(words) and words[known] < word:
                known += 1
            is_known = known < len(words) and words[known] == word
            weight = terms[min(place - first, len(terms) - 1)] * (idf[known] if is_known else unknown)
            for block in range(OWN // 64):
                bits = finish(word + np.uint64(block + 1) * _GOLDEN)
                for bit in range(64):
                    sign = np.int64((bits >> np.uint64(bit)) & np.uint64(1)) * 2 - 1
                    sums[block * 64 + bit] += sign * weight
            if is_known and known < len(contexts):
                for number in range(CONTEXT):
                    sums[OWN + number] += weight * contexts[known, number]
        own = context = 0.0
        for number in range(OWN):
            own += float(sums[number]) * float(sums[number])
        for number in range(OWN, SIZE):
            context += float(sums[number]) * float(sums[number])
        norms[doc] = own
        length = np.sqrt(context)
        context = 0.0
        for number in range(OWN, SIZE):  # to whole numbers, so that the mean can be taken off exactly
            if length > 0.0:
                sums[number] = np.int64(np.rint(float(sums[number]) / length * UNIT)) - mean[number - OWN]
            context += float(sums[number]) * float(sums[number])
        for number in range(SIZE):
            total = own if number < OWN else context
            weight_of = weights[0] if number < OWN else weights[1]
            value = float(sums[number]) / np.sqrt(total) * weight_of if total > 0.0 else 0.0
            out[doc * SIZE + number] = value


def embed_words(model: Model, hashes: Numbers, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Vectors of texts by the hashes of their folded words, text i having hashes[bounds[i]:bounds[i + 1]], of
    length 1, or 0 where there are no words."""
    doc = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    hashes = hashes[np.lexsort((hashes, doc))]
    out, norms = np.empty((len(bounds) - 1) * SIZE), np.empty(len(bounds) - 1)
    share = model.context_share
    weights = np.array([np.sqrt(1 - share), np.sqrt(share)])
    _embed(
        *(hashes, bounds, _TERMS, model.words, model.idf, model.unknown_idf, model.contexts, model.mean),
        *(weights, np.empty(SIZE, np.int64), out, norms),
    )
    return out.reshape(-1, SIZE)


def quantised(vectors: npt.NDArray[np.float64]) -> Vectors:
    """Vectors as whole numbers of about `LENGTH`; nothing stays nothing."""
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    scaled = np.rint(vectors * (LENGTH / np.where(length > 0, length, 1)))
    return np.clip(scaled, -127, 127).astype(np.int8)


def embed_texts(model: Model, text: pa.ChunkedArray) -> Vectors:
    """Vectors of a column of texts."""
    words = folded_words(text)
    return quantised(embed_words(model, words.hashes, words.bounds))


def lengths(vectors: Vectors) -> npt.NDArray[np.float64]:
    wide = vectors.astype(np.int64)
    found: npt.NDArray[np.float64] = np.sqrt((wide * wide).sum(axis=1).astype(np.float64))
    return found


def cosines(a: Vectors, b: Vectors) -> npt.NDArray[np.float64]:
    """Cosines of each of `a` with each of `b`; the products are exact, whatever adds them up."""
    products = a.astype(np.float32) @ b.astype(np.float32).T
    scale = np.maximum(lengths(a)[:, None] * lengths(b)[None, :], 1.0)
    found: npt.NDArray[np.float64] = products.astype(np.float64) / scale
    return found
