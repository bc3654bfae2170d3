"""GPT-3's own features: hashed term frequencies and logistic regression (Brown et al. 2020, appendix A).

Spark's Tokenizer lower-cases and splits at white space; its HashingTF counts words by MurmurHash3 (x86, 32
bits, seed 42) modulo the number of features; its logistic regression is fitted by L-BFGS. Here the texts come
prepared, and a small L2 penalty keeps the weights of what only one class has finite. The model answers as a
fastText model does, so that scoring, calibration and reports are the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.cards import number, whole_number
from gristmill.errors import IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.inside import parsed

MAGIC = b"GMHASHTF"
SPARK_SEED = 42  # org.apache.spark.ml.feature.HashingTF
PENALTY = 1e-4  # of the mean loss; Spark's default is none, with which separable classes have no optimum
_MOST_STEPS = 100  # Spark's maxIter

_Label = str
Floats = npt.NDArray[np.float32]


def feature_of(word: str, num_features: int) -> int:
    """The feature that counts a word, as Spark 3 hashes it."""
    from sklearn.utils import murmurhash3_32

    return int(murmurhash3_32(word.encode("utf-8", "replace"), seed=SPARK_SEED)) % num_features


class HashingTF:
    """A fitted model: a weight for each feature, and which features training saw."""

    def __init__(
        self, weights: Floats, bias: float, seen: npt.NDArray[np.bool_], labels: Sequence[_Label]
    ) -> None:
        self.weights, self.bias, self.seen = weights, bias, seen
        self.labels = list(labels)
        self.f = self  # fastText's wrapper keeps its model there
        self._feature = lru_cache(maxsize=1 << 18)(lambda word: feature_of(word, len(weights)))

    def get_labels(self) -> list[_Label]:
        return self.labels

    def knows(self, word: str) -> bool:
        """Whether training saw the word, or another of its feature."""
        return bool(self.seen[self._feature(word)])

    def score(self, line: str) -> float:
        """The probability of the first label."""
        margin = self.bias + math.fsum(float(self.weights[self._feature(word)]) for word in line.split())
        return 1.0 / (1.0 + math.exp(-margin)) if margin > -700 else 0.0

    def predict(
        self, line: str, k: int, threshold: float, on_unicode_error: str
    ) -> list[tuple[float, _Label]]:
        """The k best labels with their probabilities, as fastText's model gives them."""
        first = self.score(line)
        found = sorted(zip((first, 1.0 - first), self.labels, strict=True), reverse=True)
        return [pair for pair in found if pair[0] >= threshold][: k if k >= 0 else None]

    def save(self, path: Path) -> None:
        head = json.dumps({"labels": self.labels, "bias": self.bias, "features": len(self.weights)}).encode()
        with path.open("wb") as file:
            file.write(MAGIC + len(head).to_bytes(8, "little") + head)
            file.write(self.weights.astype("<f4").tobytes())
            file.write(np.packbits(self.seen).tobytes())


def is_hashing_tf(path: Path) -> bool:
    """Whether a file is a model that `train_hashing_tf` wrote."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@lru_cache(maxsize=4)
def _open(path: str, size: int, mtime_ns: int) -> HashingTF:
    data = read_file(Path(path))
    start = len(MAGIC) + 8
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    head = parsed(data[start:end])
    num, bias, labels = _stated(head, Path(path))
    if len(data) != end + 4 * num + -(-num // 8):
        raise ValueError(f"it has {len(data):,} bytes, and {num:,} features make another number")
    weights = np.frombuffer(data, "<f4", num, end)
    if not np.isfinite(weights).all():
        raise ValueError("some of its weights are no numbers")
    seen = np.unpackbits(np.frombuffer(data, np.uint8, offset=end + 4 * num), count=num).astype(bool)
    return HashingTF(weights, bias, seen, labels)


def _stated(head: Any, path: Path) -> tuple[int, float, list[_Label]]:
    """The features, bias and labels that a head states; raises ValueError for other than there can be."""
    labels = head.get("labels") if isinstance(head, dict) else None
    if not isinstance(labels, list) or len(labels) != 2 or not all(isinstance(one, str) for one in labels):
        raise ValueError(f"its head must name two labels: {ascii(head)[:80]}")
    try:
        num = whole_number(head, "features", path, 1, 1 << 32)
        return num, number(head, "bias", path, -1e30), labels
    except IntegrityError as error:
        raise ValueError(error.message) from None


def open_hashing_tf(path: Path) -> HashingTF:
    """Open a model; raises ValueError for a file that is cut short or states what cannot be."""
    found = path.stat()
    return _open(str(path), found.st_size, found.st_mtime_ns)


def train_hashing_tf(
    positives: Sequence[str], negatives: Sequence[str], labels: tuple[_Label, _Label], num_features: int
) -> HashingTF:
    """Fit the model on lines of two classes; the same lines in the same order give the same bytes."""
    from scipy.optimize import minimize
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    places: dict[str, int] = {}
    indices, counts, rows = [], [], [0]
    for line in (*positives, *negatives):
        tally: dict[int, int] = {}
        for word in line.split():
            place = places.get(word)
            if place is None:
                place = places.setdefault(word, feature_of(word, num_features))
            tally[place] = tally.get(place, 0) + 1
        for place in sorted(tally):
            indices.append(place)
            counts.append(tally[place])
        rows.append(len(indices))
    seen = np.zeros(num_features, bool)
    seen[indices] = True
    used = np.flatnonzero(seen)
    shape = (len(rows) - 1, len(used))
    features = csr_matrix((np.array(counts, np.float64), np.searchsorted(used, indices), rows), shape)
    signs = np.concatenate([np.ones(len(positives)), -np.ones(len(negatives))])

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margins = signs * (features @ values[1:] + values[0])
        pulls = -signs / (1.0 + np.exp(np.minimum(margins, 700.0))) / len(signs)
        total = float(np.logaddexp(0.0, -margins).mean() + PENALTY / 2 * (values[1:] ** 2).sum())
        return total, np.concatenate([[pulls.sum()], features.T @ pulls + PENALTY * values[1:]])

    with threadpool_limits(1):  # sums of several threads differ from run to run
        fitted = minimize(
            loss, np.zeros(len(used) + 1), jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS}
        ).x
    weights = np.zeros(num_features, np.float32)
    weights[used] = fitted[1:]
    return HashingTF(weights, float(np.float32(fitted[0])), seen, labels)
