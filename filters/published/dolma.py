"""Gopher's signals as Dolma's tagger counts them (allenai/dolma, python/dolma/taggers/gopher.py).

It differs from Gopher's own wording, which `gopher` and `gopher-repetition` follow: words are what
`str.split()` returns, their length is a median; characters are those of words; lines and n-grams that come
again count every time, not all but the first; the share of an n-gram is of the characters of all n-grams;
bullets are `*` and `-`, an ellipsis is `…` alone. `gopher_v1` counts blank lines, which are then duplicates
of each other, `gopher_v2` skips them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.filters.block import Batch, Measured, Measurement
from gristmill.filters.published.constants import STOP_WORDS
from gristmill.filters.published.ngram_counts import count_ngrams
from gristmill.text.kernel import kernel

_TOP, _DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)
_NGRAMS = (
    *(f"most_common_{n}gram_chars" for n in _TOP),
    *(f"duplicate_{n}gram_chars" for n in _DUPLICATE),
    *(f"{n}gram_chars" for n in _DUPLICATE),
)
_WORDS = ("words", "word_chars", "symbol_words", "letter_words", "required_words")
_LINES = ("lines", "bullet_lines", "ellipsis_lines", "duplicate_lines", "duplicate_line_chars")
DOLMA_SIGNALS = (*_WORDS, *_LINES, *_NGRAMS, "median_word_chars")

_REQUIRED = frozenset(STOP_WORDS)  # it keeps their case
_SYMBOLS = ("#", "…")
_BULLETS = ("*", "-")
_ELLIPSIS = "…"
_BREAKS = re.compile(r"\n+")


def dolma_reference(text: str, *, blank_lines: bool = False) -> dict[str, float]:
    """Every signal in plain Python, close to the tagger's wording."""
    words = text.split()
    found: dict[str, float] = {
        "words": len(words),
        "word_chars": sum(map(len, words)),
        "symbol_words": sum(any(symbol in word for symbol in _SYMBOLS) for word in words),
        "letter_words": sum(any(map(str.isalpha, word)) for word in words),
        "required_words": sum(word in _REQUIRED for word in words),
        "median_word_chars": median(map(len, words)) if words else 0.0,
    }
    found |= dict(zip(_LINES, _line_counts(text, blank_lines), strict=True))
    for n in (*_TOP, *_DUPLICATE):
        counts = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
        chars = {ngram: count * sum(map(len, ngram)) for ngram, count in counts.items()}
        if n in _TOP:
            found[f"most_common_{n}gram_chars"] = sum(chars[ngram] for ngram, _ in counts.most_common(1))
        else:
            found[f"{n}gram_chars"] = sum(chars.values())
            found[f"duplicate_{n}gram_chars"] = sum(chars[ngram] for ngram in chars if counts[ngram] > 1)
    return found


def _line_counts(text: str, blank_lines: bool) -> tuple[int, ...]:
    if not text:
        return (0,) * len(_LINES)
    lines = text.split("\n") if blank_lines else _BREAKS.split(text)
    repeated = [(line, count) for line, count in Counter(lines).items() if count > 1]
    return (
        len(lines),
        sum(line.startswith(_BULLETS) for line in lines),
        sum(line.endswith(_ELLIPSIS) for line in lines),
        sum(count for _, count in repeated),
        sum(count * len(line) for line, count in repeated),
    )


_I32, _U64 = (types.Array(kind, 1, "C") for kind in (types.int32, types.uint64))
_READ = types.Array(types.int64, 1, "C", readonly=True)


@kernel(types.void(_READ, _READ, _READ, _U64, _I32, _U64, types.Array(types.int64, 2, "C")))
def _count_chars(rows, ids, chars, keys, counts, slots, out):  # type: ignore[no-untyped-def]
    """Fill the columns of n-grams: of 2 to 4 words the first of the most frequent, of 5 to 10 those that
    occur more than once, and all."""
    for doc in range(len(rows) - 1):
        start, stop = rows[doc], rows[doc + 1]
        for n in range(2, 11):
            num = stop - start - n + 1
            if num < 1:
                continue
            count_ngrams(ids, start, num, n, keys, counts, slots)
            width = np.int64(0)  # characters of the n-gram at i
            for j in range(start, start + n):
                width += chars[j]
            most = 0
            for i in range(num):
                count = counts[slots[i]]
                if n >= 5:
                    out[doc, n + 4] += width
                    if count > 1:
                        out[doc, n - 2] += width
                elif count > most:
                    most = count
                    out[doc, n - 2] = count * width
                if i + 1 < num:
                    width += chars[start + i + n] - chars[start + i]


def measure_dolma(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    texts = batch.strings
    words = [text.split() for text in texts]
    rows = np.cumsum([0, *map(len, words)])
    encoded = pa.array([word for found in words for word in found], pa.large_string()).dictionary_encode()
    ids = np.asarray(encoded.indices).astype(np.int64)
    judged = np.array([_judge(word) for word in encoded.dictionary.to_pylist()], np.int64).reshape(-1, 4)[ids]
    blank_lines = bool(parameters["blank_lines"])
    lines = np.array([_line_counts(text, blank_lines) for text in texts], np.int64).reshape(-1, len(_LINES))
    signals: dict[str, Any] = {
        "words": np.diff(rows),
        **{name: _sums(judged[:, column], rows) for column, name in enumerate(_WORDS[1:])},
        **{name: lines[:, column] for column, name in enumerate(_LINES)},
    }
    chars = np.ascontiguousarray(judged[:, 0])
    medians = [float(np.median(chars[low:high])) if low < high else 0.0 for low, high in pairwise(rows)]
    signals["median_word_chars"] = np.array(medians, np.float64)
    return Measured(signals | _ngram_signals(batch, rows, ids, chars))


def _judge(word: str) -> tuple[int, bool, bool, bool]:
    return (
        len(word),
        any(symbol in word for symbol in _SYMBOLS),
        any(map(str.isalpha, word)),
        word in _REQUIRED,
    )


def _sums(values: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values)]).astype(np.int64)
    return np.asarray(total[rows[1:]] - total[rows[:-1]])


def _ngram_signals(batch: Batch, rows: Any, ids: Any, chars: Any) -> dict[str, Any]:
    most = max(8, int(np.diff(rows).max(initial=0)))
    out = np.zeros((len(batch), len(_NGRAMS)), np.int64)
    keys, slots = (batch.scratch.empty(name, 4 * most, np.uint64) for name in ("dolma_keys", "dolma_slots"))
    counts = batch.scratch.empty("dolma_counts", 4 * most, np.int32)
    _count_chars(rows.astype(np.int64), ids, chars, keys, counts, slots, out)
    return {name: out[:, column] for column, name in enumerate(_NGRAMS)}


DOLMA_GOPHER = Measurement(measure_dolma, DOLMA_SIGNALS, floats=("median_word_chars",))
