"""RedPajama-V2's quality signals, counted as its own code counts them; a ratio's two counts are kept apart.

Its words are of two kinds: raw ones as NLTK's WordPunctTokenizer splits (runs of word characters, runs of
others), and normal ones: ASCII punctuation removed, lower case, white space to blanks, NFD. `rps_reference`
says what each signal means. Of its signals by line there are counts by document here. Importance weights need
distributions, and are in `importance.py`.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import types

from gristmill.filters.block import Batch, Measured, Measurement
from gristmill.filters.files import read_lines
from gristmill.filters.published.constants import LOREM_IPSUM, STOP_WORDS
from gristmill.filters.published.importance import (
    IMPORTANCE_SIGNALS,
    RAW_WORD,
    RawWords,
    importance_signals,
    raw_words,
)
from gristmill.filters.published.ngram_counts import count_ngrams
from gristmill.text.kernel import kernel
from gristmill.text.normal import normal_form

_TOP, _DUPE = (2, 3, 4), (5, 6, 7, 8, 9, 10)
_NGRAMS = (*(f"top_{n}gram_chars" for n in _TOP), *(f"dupe_{n}gram_chars" for n in _DUPE))
_TEXTS = (
    *("chars", "normal_chars", "sentences", "symbols", "curly_brackets", "lorem_ipsum", "upper_chars"),
    *("numeric_chars", "lines", "ellipsis_lines", "terminal_lines", "bullet_lines", "javascript_words"),
)
_RAW = ("raw_words", "no_alpha_words", "caps_words", "stop_words")
_NORMAL = ("normal_words", "normal_word_chars", "unique_words", "line_words")
RPS_SIGNALS = (*_TEXTS, *_RAW, *_NORMAL, *_NGRAMS, "entropy")

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SENTENCE = re.compile(r"\b[^.!?]+[.!?]*")
_ALPHA = re.compile("[a-zA-Z]")
_BULLETS = tuple("\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013")  # lines.py
_TERMINAL = (".", "!", "?", "”")  # lines.py
_ELLIPSES = ("...", "…")
_SYMBOLS = ("#", *_ELLIPSES)


def normalise(text: str) -> str:
    """RedPajama-V2's normal form (utilities/text/normalization.py)."""
    plain = " ".join(text.translate(_PUNCTUATION).lower().split())
    return normal_form(plain, "NFD")


def _lines(text: str) -> list[str]:
    """Lines with their newlines, as `([^\\n]*\\n|[^\\n]+$)` finds them."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _text_counts(text: str, normal: str) -> tuple[int, ...]:
    lines = _lines(text)
    lower_js = "javascript" in normal
    return (
        len(text),
        len(normal),
        sum(1 for _ in _SENTENCE.finditer(text)),
        sum(text.count(symbol) for symbol in _SYMBOLS),
        text.count("{") + text.count("}"),
        normal.count(LOREM_IPSUM),
        sum(map(str.isupper, text)),
        sum(map(str.isnumeric, normal)),
        len(lines),
        sum(line.rstrip().endswith(_ELLIPSES) for line in lines),
        sum(line.rstrip().endswith(_TERMINAL) for line in lines),
        sum(line.lstrip().startswith(_BULLETS) for line in lines),
        sum(normalise(line).split().count("javascript") for line in lines) if lower_js else 0,
    )


def rps_reference(text: str, stop_words: Sequence[str] = STOP_WORDS) -> dict[str, float]:
    """Every signal in plain Python, close to the wording of its source."""
    normal = normalise(text)
    raw, words = RAW_WORD.findall(text), normal.split()
    counts = Counter(words)
    found: dict[str, float] = dict(zip(_TEXTS, _text_counts(text, normal), strict=True))
    found |= {
        "raw_words": len(raw),
        "no_alpha_words": sum(not _ALPHA.search(word) for word in raw),
        "caps_words": sum(map(str.isupper, raw)),
        "stop_words": sum(word in stop_words for word in raw),
        "normal_words": len(words),
        "normal_word_chars": sum(map(len, words)),
        "unique_words": len(counts),
        "line_words": len(words),
        "entropy": _entropy(list(counts.values())),
    }
    for n in _TOP:
        found[f"top_{n}gram_chars"] = _top_chars(words, n)
    for n in _DUPE:
        found[f"dupe_{n}gram_chars"] = _dupe_chars(words, n)
    return found


def _entropy(counts: Sequence[int]) -> float:
    """Of a distribution of words, in nats; the same for any order of them."""
    total = sum(counts)
    return math.fsum(-count / total * math.log(count / total) for count in counts)


def _top_chars(words: Sequence[str], n: int) -> int:
    """Characters of the most frequent n-gram, the first of several, times its count; 0 where none occurs
    twice."""
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    for ngram, count in counts.most_common(1):
        return count * sum(map(len, ngram)) if count > 1 else 0
    return 0


def _dupe_chars(words: Sequence[str], n: int) -> int:
    """Characters of words that lie in an n-gram which occurs more than once, each counted once."""
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(ngrams)
    inside = {i + j for i, ngram in enumerate(ngrams) if counts[ngram] > 1 for j in range(n)}
    return sum(len(words[place]) for place in inside)


_I32, _U64 = (types.Array(kind, 1, "C") for kind in (types.int32, types.uint64))
_READ = types.Array(types.int64, 1, "C", readonly=True)


@kernel(types.void(_READ, _READ, _READ, _U64, _I32, _U64, types.Array(types.int64, 2, "C")))
def _repeated(rows, ids, chars, keys, counts, slots, out):  # type: ignore[no-untyped-def]
    for doc in range(len(rows) - 1):
        start, stop = rows[doc], rows[doc + 1]
        for n in range(2, 11):
            num = stop - start - n + 1
            if num < 2:
                continue
            count_ngrams(ids, start, num, n, keys, counts, slots)
            total = np.int64(0)
            most = 1
            free = start
            for i in range(num):
                count = counts[slots[i]]
                if n < 5 and count > most:
                    most = count
                    total = np.int64(0)
                    for j in range(start + i, start + i + n):
                        total += chars[j] * count
                elif n >= 5 and count > 1:
                    for j in range(max(free, start + i), start + i + n):
                        total += chars[j]
                    free = start + i + n
            out[doc, n - 2] = total


def measure_redpajama(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    """Measure all; importance weights where distributions are named."""
    texts = batch.strings
    normal = [normalise(text) for text in texts]
    counted = np.array(list(map(_text_counts, texts, normal)), np.int64).reshape(-1, len(_TEXTS))
    signals: dict[str, Any] = {name: counted[:, column] for column, name in enumerate(_TEXTS)}
    path = parameters.get("stop_words")
    words = raw_words(texts)
    signals |= _raw_signals(words, read_lines(path) if path else STOP_WORDS)
    signals |= importance_signals(words, signals["chars"], parameters)
    return Measured(signals | _normal_signals(batch, normal))


def _raw_signals(words: RawWords, stop_words: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Judge each distinct word once, then sum over the words of each text."""
    known, place, rows = words
    listed = set(stop_words)
    judged = (
        [not _ALPHA.search(word) for word in known],
        [word.isupper() for word in known],
        [word in listed for word in known],
    )
    sums = [_sums(np.array(each, np.int64)[place] if known else place, rows) for each in judged]
    return dict(zip(_RAW, (np.diff(rows), *sums), strict=True))


def _sums(values: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values)]).astype(np.int64)
    return np.asarray(total[rows[1:]] - total[rows[:-1]])


def _normal_signals(batch: Batch, normal: Sequence[str]) -> dict[str, Any]:
    split = pc.split_pattern(pa.array(normal, pa.large_string()), " ")
    words = pc.list_flatten(split)
    lengths = np.where([bool(text) for text in normal], np.asarray(pc.list_value_length(split)), 0)
    words = words.filter(pc.greater(pc.binary_length(words), 0))
    rows = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.asarray(words.dictionary_encode().indices).astype(np.int64)
    chars = np.asarray(pc.utf8_length(words)).astype(np.int64)
    most = max(8, int(lengths.max(initial=0)))
    out = np.zeros((len(normal), len(_NGRAMS)), np.int64)
    keys, slots = (batch.scratch.empty(name, 4 * most, np.uint64) for name in ("rps_keys", "rps_slots"))
    _repeated(rows, ids, chars, keys, batch.scratch.empty("rps_counts", 4 * most, np.int32), slots, out)
    counts = [
        np.unique(ids[low:high], return_counts=True)[1].tolist() for low, high in pairwise(rows.tolist())
    ]
    signals: dict[str, Any] = {name: out[:, column] for column, name in enumerate(_NGRAMS)}
    return signals | {
        "normal_words": lengths.astype(np.int64),
        "normal_word_chars": _sums(chars, rows),
        "unique_words": np.array([len(each) for each in counts], np.int64),
        "line_words": lengths.astype(np.int64),
        "entropy": np.array([_entropy(each) for each in counts], np.float64),
    }


REDPAJAMA_V2 = Measurement(
    measure_redpajama, (*RPS_SIGNALS, *IMPORTANCE_SIGNALS), floats=("entropy", *IMPORTANCE_SIGNALS)
)
