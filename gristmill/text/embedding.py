"""Texts as points: hashed words weighted by TF-IDF, brought to a few dimensions by SVD (latent semantic
analysis, Deerwester et al. 1990), learned from the texts themselves.

    space = fit(count_words(sample, bits=18), dimensions=64, seed=1)
    points = space.embed(texts)     # float32, (texts, dimensions), of length 1; zeros where no word is known
    space.save(path); Space.load(path)

A word is known by the upper `bits` bits of its `hash_folded`. Its weight in a text is (1 + ln n) x
ln(N / df), n being its occurrences, and texts are brought to length 1 before and after the projection. A
point depends on its text alone, not on what is embedded beside it: it is the same to the bit in any batch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.cards import damaged_card, whole_number
from gristmill.errors import IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.inside import parsed
from gristmill.text.cores import cores_of
from gristmill.text.kernel import kernel
from gristmill.text.words import Scratch

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MAGIC = b"GMSPACE1"
_TOLERANCE = 1e-12  # of a singular value's square, relative
_NOTHING = 1e-6  # of the largest singular value: smaller ones are rounding
_WHOLE = 256  # rows or columns of a matrix that is decomposed as a whole
_I64 = types.Array(types.int64, 1, "C", readonly=True)
_U32 = types.Array(types.uint32, 1, "C", readonly=True)
_I32 = types.Array(types.int32, 1, "C", readonly=True)
_F32 = types.Array(types.float32, 1, "C", readonly=True)
_MATRIX = types.Array(types.float32, 2, "C", readonly=True)
_MATRIX_OUT = types.Array(types.float32, 2, "C")


class Counted(NamedTuple):
    """Words of texts by feature: text i has `features[rows[i]:rows[i + 1]]`, ascending, with their counts."""

    features: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.uint32]
    rows: Ints


def count_words(
    texts: pa.Array | pa.ChunkedArray, bits: int, most: int = 1 << 40, scratch: Scratch | None = None
) -> Counted:
    """Count the words of texts by feature; of a text only the first `most` words."""
    hashes, rows = cores_of(texts, scratch)
    sizes = np.diff(rows)
    keys = np.repeat(np.arange(len(sizes), dtype=np.uint64) << np.uint64(32), sizes)
    keys |= hashes >> np.uint64(64 - bits)
    if len(sizes) and sizes.max() > most:
        keys = keys[np.arange(len(keys)) - np.repeat(rows[:-1], sizes) < most]
    keys.sort()
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    counts = np.diff(first, append=len(keys))
    ends = np.searchsorted(keys[first], np.arange(len(rows), dtype=np.uint64) << np.uint64(32))
    features = (keys[first] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return Counted(features, counts.astype(np.uint32), ends.astype(np.int64))


@kernel(types.void(_U32, _U32, _I64, _I32, _F32, _MATRIX, _F32, _MATRIX_OUT))
def _project(features, counts, rows, places, weights, basis, logs, points):  # type: ignore[no-untyped-def]
    """Add up each text's rows of the basis, and bring the sum to length 1."""
    for text in range(len(rows) - 1):
        point = points[text]
        point[:] = np.float32(0)
        for at in range(rows[text], rows[text + 1]):
            row = places[features[at]]
            if row >= 0:
                weight = weights[row] * logs[min(counts[at], np.uint32(len(logs) - 1))]
                for axis in range(len(point)):
                    point[axis] += weight * basis[row, axis]
        length = np.float64(0)
        for axis in range(len(point)):
            length += np.float64(point[axis]) * np.float64(point[axis])
        if length > 0:
            scale = np.float32(1.0 / math.sqrt(length))
            for axis in range(len(point)):
                point[axis] *= scale


_LOGS = np.concatenate(([0.0], 1 + np.log(np.arange(1, 1 << 12)))).astype(np.float32)  # 1 + ln n


_MOST_BITS = 26  # of a feature: a table of all is 256 MB


@dataclass(frozen=True, slots=True)
class Space:
    """What was learned: known features in order, the weight of each, and its place in few dimensions.

    `features` has shape (V,), `weights` (V,), `basis` (V, dimensions).
    """

    bits: int
    features: npt.NDArray[np.uint32]
    weights: Floats
    basis: Floats

    def embed(
        self, texts: pa.Array | pa.ChunkedArray, most: int = 1 << 40, scratch: Scratch | None = None
    ) -> Floats:
        """Return a point for each text, of length 1; zeros where none of its first `most` words is known."""
        return self.project(count_words(texts, self.bits, most, scratch))

    def project(self, counted: Counted) -> Floats:
        places = np.full(1 << self.bits, -1, np.int32)
        places[self.features] = np.arange(len(self.features), dtype=np.int32)
        points = np.empty((len(counted.rows) - 1, self.basis.shape[1]), np.float32)
        _project(*counted, places, self.weights, self.basis, _LOGS, points)
        return points

    def save(self, path: Path) -> None:
        head = {"bits": self.bits, "features": len(self.features), "dimensions": self.basis.shape[1]}
        encoded = json.dumps(head, sort_keys=True).encode()
        with path.open("wb") as file:
            file.write(MAGIC + len(encoded).to_bytes(8, "little") + encoded)
            for values, kind in ((self.features, "<u4"), (self.weights, "<f4"), (self.basis, "<f4")):
                file.write(np.ascontiguousarray(values, kind).tobytes())

    @classmethod
    def load(cls, path: Path) -> Space:
        """Read a saved space; raises IntegrityError for a file that is none, or not whole."""
        data = read_file(path)
        start = len(MAGIC) + 8
        if data[: len(MAGIC)] != MAGIC:
            raise IntegrityError(f"`{path}` is no space of texts: it does not begin with {MAGIC.decode()}")
        end = start + int.from_bytes(data[len(MAGIC) : start], "little")
        try:
            head = parsed(data[start:end])
        except ValueError as error:
            raise IntegrityError(f"`{path}` has a head that is not JSON: {error}") from None
        if not isinstance(head, dict):
            raise damaged_card(path, "its head must be an object", head)
        bits = whole_number(head, "bits", path, 1, _MOST_BITS)
        known = whole_number(head, "features", path, 0, 1 << bits)
        width = whole_number(head, "dimensions", path, 0, 1 << 20)
        if len(data) != end + 4 * known * (2 + width):
            raise IntegrityError(
                f"`{path}` has {len(data):,} bytes, its head says {end + 4 * known * (2 + width):,}",
                hint="it was cut or changed after it was written; learn it again",
            )
        features = np.frombuffer(data, "<u4", known, end)
        weights = np.frombuffer(data, "<f4", known, end + 4 * known)
        basis = np.frombuffer(data, "<f4", known * width, end + 8 * known).reshape(known, width)
        if bool((features >> np.uint32(bits)).any()) or bool((features[1:] <= features[:-1]).any()):
            raise damaged_card(path, f"its features must rise below 2^{bits}", features[:4].tolist())
        return cls(bits, features, weights, basis)


def fit(
    counted: Counted,
    bits: int,
    dimensions: int,
    seed: int,
    *,
    min_documents: int = 5,
    max_fraction: float = 0.3,
    most_features: int = 1 << 16,
    groups: Ints | None = None,
    min_group: int = 100,
) -> Space:
    """Learn weights and axes from counted texts; their order does not matter beyond rounding.

    Features in fewer than `min_documents` texts or in more than `max_fraction` of them are left out, and so
    are those in more than `max_fraction` of any group (such as a language) of `min_group` texts and more; of
    the others the `most_features` that stand in most texts stay. The axes are those of the largest singular
    values (on one thread), each signed so that its largest entry is positive.
    """
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    num_texts = len(counted.rows) - 1
    found = np.bincount(counted.features, minlength=1 << bits)
    allowed = (found >= min_documents) & (found <= max(min_documents, max_fraction * num_texts))
    if groups is not None:
        of_feature = np.repeat(groups, np.diff(counted.rows))
        for group, size in enumerate(np.bincount(groups).tolist()):
            if size >= min_group:
                own = np.bincount(counted.features[of_feature == group], minlength=1 << bits)
                allowed &= own <= max_fraction * size
    wanted = np.flatnonzero(allowed)
    wanted = np.sort(wanted[np.argsort(-found[wanted], kind="stable")[:most_features]])
    weights = np.log(num_texts / found[wanted]).astype(np.float32)
    places = np.full(1 << bits, -1, np.int64)
    places[wanted] = np.arange(len(wanted))
    columns = places[counted.features]
    texts = np.repeat(np.arange(num_texts), np.diff(counted.rows))
    known = columns >= 0
    columns, texts = columns[known], texts[known]
    values = _LOGS[np.minimum(counted.counts[known], len(_LOGS) - 1)] * weights[columns]
    lengths = np.sqrt(np.bincount(texts, values.astype(np.float64) ** 2, num_texts))
    of_text = lengths[texts]  # 0 where a text has no other words than those that all texts have
    values = np.divide(values, of_text, out=np.zeros_like(of_text), where=of_text > 0).astype(np.float32)
    matrix = csr_matrix((values, (texts, columns)), shape=(num_texts, len(wanted)))
    with threadpool_limits(1):  # sums of several threads differ from run to run
        basis = _axes(matrix, min(dimensions, *matrix.shape), seed)
    return Space(bits, wanted.astype(np.uint32), weights, basis)


def _axes(matrix: Any, dimensions: int, seed: int) -> Floats:
    """The right singular vectors of the largest singular values, (columns, dimensions); zeros for values that
    are 0.

    Lanczos iteration (ARPACK) goes on until they are found: singular values of words decay so slowly that a
    fixed number of subspace iterations leaves the last axes to chance, and what is measured in the space with
    them. It cannot find all axes of a matrix; a small one is decomposed as a whole.
    """
    if not dimensions:
        return np.zeros((matrix.shape[1], 0), np.float32)
    matrix = matrix.astype(np.float64)
    if min(matrix.shape) <= max(_WHOLE, dimensions):
        _, values, rows = np.linalg.svd(matrix.toarray(), full_matrices=False)
        basis = rows[:dimensions].T
    elif matrix.shape[0] < matrix.shape[1]:
        basis, values, _ = np.linalg.svd(matrix.T @ _leading(matrix, dimensions, seed), full_matrices=False)
    else:
        found = _leading(matrix.T, dimensions, seed)
        _, values, turned = np.linalg.svd(matrix @ found, full_matrices=False)
        basis = found @ turned.T
    basis = np.where(values[:dimensions] > _NOTHING * values[0], basis, 0.0)
    largest = np.abs(basis).argmax(0)
    return np.asarray(basis * np.sign(basis[largest, np.arange(basis.shape[1])]), np.float32, order="C")


def _leading(matrix: Any, number: int, seed: int) -> Any:
    """Span the left singular vectors of the largest singular values, (rows, number)."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    rows = matrix.shape[0]
    draw = np.random.Generator(np.random.PCG64(seed))
    squared = LinearOperator((rows, rows), matvec=lambda given: matrix @ (matrix.T @ given), dtype=np.float64)
    # Where it meets the end of what a matrix spans it goes on from a new vector, of fresh chance unless told.
    further = {"rng": draw} if "rng" in signature(eigsh).parameters else {}
    start = draw.standard_normal(rows)
    return eigsh(squared, number, v0=start, tol=_TOLERANCE, **further)[1]
