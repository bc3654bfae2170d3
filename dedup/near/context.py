"""Learning from a sample of a corpus: how rare words are, what they stand beside, and clusters of texts.

Context vectors are the rows of an orthonormal basis of the leading subspace of the words' positive pointwise
mutual information (Levy, Goldberg and Dagan 2015), found by subspace iteration from fixed random signs. One
task does this; its sums are of doubles in a fixed order, in one thread, and what comes out is rounded to
whole numbers. On processors of another kind a rounding may fall the other way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse
from numba import types

from gristmill.dedup.near.embedding import (
    CONTEXT,
    IDF_UNIT,
    OWN,
    SIZE,
    UNIT,
    Model,
    Vectors,
    cosines,
    embed_words,
    quantised,
)
from gristmill.dedup.sorted.radix import Numbers
from gristmill.splitmix import GOLDEN, finalise
from gristmill.text.kernel import kernel

VOCABULARY = 1 << 17  # words with a frequency of their own; others count as the rarest
CONTEXT_WORDS = 1 << 14  # the most frequent of them have a context vector
WINDOW = 5  # words on either side
_ITERATIONS = 5
_ROUNDS = 10  # of k-means
_SMOOTHING = 0.75  # of context frequencies (Levy et al.)
Bounds = npt.NDArray[np.int64]


def learn(hashes: Numbers, bounds: Bounds, num_clusters: int, context_share: float) -> Model:
    """Learn a model of the texts whose folded words have these hashes; text i has
    hashes[bounds[i]:bounds[i + 1]]."""
    num = len(bounds) - 1
    doc = np.repeat(np.arange(num, dtype=np.int64), np.diff(bounds))
    words, place = np.unique(hashes, return_inverse=True)
    pairs = np.unique(place.astype(np.int64) * num + doc)
    frequency = np.bincount(pairs // max(num, 1), minlength=len(words))
    del pairs
    by_frequency = np.lexsort((words, -frequency))[:VOCABULARY]
    by_frequency = by_frequency[frequency[by_frequency] > 1]
    rank = np.full(len(words), -1, np.int64)
    rank[by_frequency[:CONTEXT_WORDS]] = np.arange(min(len(by_frequency), CONTEXT_WORDS))
    beside = _context_vectors(rank[place], doc)
    known = np.sort(by_frequency)  # the model's words are by hash, as `words` are
    contexts = np.zeros((len(known), CONTEXT), np.int8)
    contexts[rank[known] >= 0] = beside[rank[known][rank[known] >= 0]]
    model = Model(
        words=words[known],
        idf=_idf(num, frequency[known]),
        unknown_idf=int(_idf(num, np.ones(1, np.int64))[0]),
        contexts=contexts,
        mean=np.zeros(CONTEXT, np.int64),
        centroids=np.zeros((1, SIZE), np.int8),
        context_share=context_share,
    )
    model = replace(model, mean=_mean(model, hashes, bounds))
    vectors = quantised(embed_words(model, hashes, bounds))
    return replace(model, centroids=k_means(vectors[np.any(vectors, axis=1)], num_clusters))


def _mean(model: Model, hashes: Numbers, bounds: Bounds) -> npt.NDArray[np.int64]:
    """The mean of texts' context parts, in units of vectors of length `UNIT`."""
    if len(bounds) < 2:
        return model.mean
    whole = replace(model, context_share=1.0)
    parts = np.rint(embed_words(whole, hashes, bounds)[:, OWN:] * UNIT).astype(np.int64)
    mean: npt.NDArray[np.int64] = np.rint(parts.sum(axis=0) / len(parts)).astype(np.int64)
    return mean


def _idf(num: int, frequency: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    idf = np.rint(IDF_UNIT * np.log((num + 1) / (frequency + 0.5)))
    found: npt.NDArray[np.int64] = idf.astype(np.int64).clip(1)
    return found


def _context_vectors(ranks: npt.NDArray[np.int64], doc: npt.NDArray[np.int64]) -> Vectors:
    """A vector of int8 for each ranked word, by the words that stand beside it."""
    size = int(ranks.max(initial=-1)) + 1
    if size <= CONTEXT:
        return np.zeros((size, CONTEXT), np.int8)
    counts = scipy.sparse.csr_matrix((size, size))
    for step in range(1, WINDOW + 1):
        a, b = ranks[:-step], ranks[step:]
        beside = (a >= 0) & (b >= 0) & (doc[:-step] == doc[step:])
        ones = np.ones(int(beside.sum()))
        counts = counts + scipy.sparse.csr_matrix((ones, (a[beside], b[beside])), (size, size))
    counts = (counts + counts.T).tocoo()
    total = np.bincount(counts.row, counts.data, size)
    context = total**_SMOOTHING
    context /= context.sum()
    expected = total[counts.row] * context[counts.col]
    information = np.log(counts.data / expected)
    positive = information > 0
    at = counts.row[positive], counts.col[positive]
    matrix = scipy.sparse.csr_matrix((information[positive], at), (size, size))
    state = np.arange(1, size * CONTEXT + 1, dtype=np.uint64) * GOLDEN
    basis = np.where(finalise(state) >> np.uint64(63), 1.0, -1.0).reshape(size, CONTEXT)
    for _ in range(_ITERATIONS):
        columns = np.ascontiguousarray((matrix @ basis).T)
        _orthonormalise(columns)
        basis = np.ascontiguousarray(columns.T)
    length = np.sqrt((basis * basis).sum(axis=1, keepdims=True))
    return np.rint(basis * (127 / np.where(length > 0, length, 1))).astype(np.int8)


@kernel(types.void(types.Array(types.float64, 2, "C")))
def _orthonormalise(columns):  # type: ignore[no-untyped-def]
    """Modified Gram-Schmidt, in place, over rows."""
    for j in range(len(columns)):
        for i in range(j):
            product = 0.0
            for place in range(columns.shape[1]):
                product += columns[i, place] * columns[j, place]
            for place in range(columns.shape[1]):
                columns[j, place] -= product * columns[i, place]
        length = 0.0
        for place in range(columns.shape[1]):
            length += columns[j, place] * columns[j, place]
        length = np.sqrt(length)
        for place in range(columns.shape[1]):
            columns[j, place] = columns[j, place] / length if length > 1e-12 else 0.0


def k_means(vectors: Vectors, num: int) -> Vectors:
    """Centroids of so many clusters; begun with vectors spread over the order given, which is random.

    A cluster that loses all its members keeps its centroid.
    """
    if not len(vectors):
        return np.zeros((1, SIZE), np.int8)
    num = min(num, 1 << (len(vectors).bit_length() - 1))
    centroids = vectors[np.arange(num) * (len(vectors) // num)].copy()
    for _ in range(_ROUNDS if num > 1 else 1):
        nearest, _score = nearest_centroids(vectors, centroids)
        order = np.argsort(nearest, kind="stable")
        held, first = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(vectors[order].astype(np.int64), first, axis=0)
        fresh = centroids.copy()
        fresh[held] = quantised(sums.astype(np.float64))
        if np.array_equal(fresh, centroids):
            break
        centroids = fresh
    return centroids


def nearest_centroids(
    vectors: Vectors, centroids: Vectors, at_a_time: int = 4096
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The centroid with the highest cosine for each vector, the first of equal ones, and that cosine."""
    nearest, scores = [np.empty(0, np.int64)], [np.empty(0)]
    for start in range(0, len(vectors), at_a_time):
        similar = cosines(vectors[start : start + at_a_time], centroids)
        best = similar.argmax(axis=1)
        nearest.append(best)
        scores.append(similar[np.arange(len(best)), best])
    return np.concatenate(nearest), np.concatenate(scores)
