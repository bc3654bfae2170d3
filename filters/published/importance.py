"""RedPajama-V2's importance weights: how much likelier a text is among books, say, than in the crawl.

    words = raw_words(texts)
    count(words)                                            # in buckets, of all texts
    targets, source = open_distributions({"books": "dsir/books", "source": "dsir/crawl"})
    weigh(words, chars, [*targets.values()], source)        # of each text, with its number of characters

DSIR (Xie et al. 2023, arXiv:2302.03169) as RedPajama-Data has it (quality_signals/importance_weights.py,
utils/dsir.py, artifacts/hash_dist.py): raw words and pairs of neighbours are counted in 10,000 buckets of
Python's own `hash`; the weight of a text is the sum over its counts of ln(p + 1e-8) - ln(q + 1e-8), p and q
being a bucket's share in target and source, to eight digits. The correction by length adds the logarithm of
the ratio of two Poisson probabilities, each with 1e-8 added. There the mean is of words and what it is asked
of is the number of characters; so it is here: nearly always the correction is 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.filters.published.distribution import (
    BUCKETS,
    SOURCE,
    TARGETS,
    Distribution,
    open_distributions,
)
from gristmill.filters.published.python_hash import pair_hash, string_hashes
from gristmill.text.kernel import OFFSETS, kernel

ENDS = ("", "_length_correction")
IMPORTANCE_SIGNALS = tuple(f"{target}_importance{end}" for target in TARGETS for end in ENDS)
RAW_WORD = re.compile(r"\w+|[^\w\s]+")  # nltk.tokenize.WordPunctTokenizer
_ADDED = 1e-8
_DIGITS = 8  # core/constants.py, PRECISION

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_COUNTS = types.Array(types.int64, 1, "C")
_TABLE = types.Array(types.float64, 2, "C", readonly=True)
_SUMS = types.Array(types.float64, 2, "C")


class RawWords(NamedTuple):
    """Words of texts: the distinct ones, the place of each word among them, and where each text's begin."""

    known: list[str]
    places: Ints
    rows: Ints

    @property
    def hashes(self) -> Ints:
        """Python's hash of each word."""
        return string_hashes(self.known)[self.places]


def raw_words(texts: Sequence[str]) -> RawWords:
    """Split texts as NLTK's WordPunctTokenizer does."""
    words = [RAW_WORD.findall(text) for text in texts]
    rows = np.cumsum([0, *map(len, words)]).astype(np.int64)
    encoded = pa.array([word for found in words for word in found], pa.string()).dictionary_encode()
    return RawWords(encoded.dictionary.to_pylist(), np.asarray(encoded.indices).astype(np.int64), rows)


def importance_signals(words: RawWords, chars: Ints, parameters: Mapping[str, Any]) -> dict[str, Floats]:
    """Weigh texts by the distributions that parameters name; nothing where none is named."""
    named = {name: parameters[name] for name in (*TARGETS, SOURCE) if parameters.get(name)}
    if not named:
        return {}
    targets, source = open_distributions(named)
    weights = weigh(words, chars, list(targets.values()), source)
    return {
        f"{name}_importance{end}": values
        for name, both in zip(targets, weights, strict=True)
        for end, values in zip(ENDS, both, strict=True)
    }


@kernel(types.void(OFFSETS, types.int64, types.int64, _COUNTS))
def _count(hashes, start, stop, counts):  # type: ignore[no-untyped-def]
    """Add the words of one text, and its pairs of neighbours, to the counts of their buckets."""
    buckets = np.uint64(len(counts))
    for at in range(start, stop):
        counts[np.uint64(abs(hashes[at])) % buckets] += 1
        if at + 1 < stop:
            counts[np.uint64(abs(pair_hash(hashes[at], hashes[at + 1]))) % buckets] += 1


@kernel(types.void(OFFSETS, OFFSETS, _TABLE, _COUNTS, _SUMS))
def _weigh(hashes, rows, logs, counts, out):  # type: ignore[no-untyped-def]
    """Sum each text's counts times each row of logarithms, with what rounding loses carried along (Kahan)."""
    for text in range(len(rows) - 1):
        counts[:] = 0
        _count(hashes, rows[text], rows[text + 1], counts)
        for target in range(len(logs)):
            total, lost = 0.0, 0.0
            for bucket in range(len(counts)):
                if counts[bucket]:
                    more = counts[bucket] * logs[target, bucket] - lost
                    new = total + more
                    lost = (new - total) - more
                    total = new
            out[text, target] = total


def count(words: RawWords, buckets: int = BUCKETS) -> Ints:
    """Count the words of all texts and their pairs, which do not reach from one text into the next."""
    counts = np.zeros(buckets, np.int64)
    hashes = words.hashes
    for start, stop in pairwise(words.rows.tolist()):
        _count(hashes, start, stop, counts)
    return counts


def weigh(
    words: RawWords, chars: Ints, targets: Sequence[Distribution], source: Distribution
) -> list[tuple[Floats, Floats]]:
    """Return for each target the weight of every text, and that with the correction by its length; 0 of an
    empty text, where the original has null."""
    logs = np.stack([_logs(target) - _logs(source) for target in targets])
    sums = np.empty((len(words.rows) - 1, len(targets)))
    _weigh(words.hashes, words.rows, logs, np.empty(logs.shape[1], np.int64), sums)
    found = []
    for target, plain in zip(targets, sums.T, strict=True):
        correction = np.log(_poisson(chars, target.mean_words) + _ADDED)
        correction -= np.log(_poisson(chars, source.mean_words) + _ADDED)
        both = [np.where(chars > 0, values, 0.0) for values in (plain, plain + correction)]
        found.append((both[0].round(_DIGITS), both[1].round(_DIGITS)))
    return found


def _logs(of: Distribution) -> Floats:
    return np.asarray(np.log(of.counts / of.counts.sum() + _ADDED))


def _poisson(numbers: Ints, mean: float) -> Floats:
    from scipy.special import gammaln, xlogy

    return np.asarray(np.exp(xlogy(numbers, mean) - gammaln(numbers + 1.0) - mean))
