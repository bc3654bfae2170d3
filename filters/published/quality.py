"""Signals of the document-level presets: Gopher's quality rules, FineWeb's own, mC4's paragraphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.filters.block import Batch, Measured, Measurement
from gristmill.filters.published.constants import STOP_WORDS
from gristmill.filters.published.linepass import line_signals
from gristmill.text.kernel import BYTES, OFFSETS, kernel
from gristmill.text.lanes import ZERO, eight_bytes, ones
from gristmill.text.words import HAS_LETTER

_LINE_SIGNALS = ("hashes", "ellipses", "lines", "bullet_lines", "ellipsis_lines")
_WORD_SIGNALS = ("words", "content_words", "content_word_chars", "letter_words", "stop_words")
FINEWEB_SIGNALS = (
    *("text_lines", "end_mark_lines", "short_lines", "duplicate_text_line_chars"),
    *("line_chars", "newlines", "words"),
)
MC4_SIGNALS = ("split_lines", "third_line_chars")

# Stop words as integers of four bytes and their number, and a table where each has the slot that its
# product's high bits name. Letters of ASCII are in lower case there: what is set are the bits 0x20 of five
# bytes. The number tells a missing byte from a NUL.
_LOWER = np.uint64(0x2020202020)
_STOP_CODES = [int.from_bytes(word.encode(), "little") | int(_LOWER) | len(word) << 40 for word in STOP_WORDS]
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SLOTS = np.zeros(32, np.uint64)
for _code in _STOP_CODES:
    _SLOTS[_code * int(_FACTOR) % (1 << 64) >> 59] = _code

_I32, _U8 = types.Array(types.int32, 1, "C", readonly=True), types.Array(types.uint8, 1, "C", readonly=True)


@kernel(types.void(OFFSETS, BYTES, OFFSETS, OFFSETS, _I32, _U8, types.Array(types.int64, 2, "C")))
def _count_words(rows, data, core_start, core_end, core_chars, flags, out):  # type: ignore[no-untyped-def]
    for doc in range(len(rows) - 1):
        content = chars = letters = 0
        for i in range(np.uint64(rows[doc]), np.uint64(rows[doc + 1])):
            content += core_chars[i] > 0
            chars += core_chars[i]
            letters += flags[i] & HAS_LETTER
        stops = ZERO
        for i in range(np.uint64(rows[doc]), np.uint64(rows[doc + 1])):
            # Five bytes of a longer word are no stop word either; a branch here is one that the processor
            # cannot guess.
            size = min(core_end[i] - core_start[i], 5)
            code = eight_bytes(data, core_start[i], size) | _LOWER | np.uint64(size) << np.uint64(40)
            slot = (code * _FACTOR) >> np.uint64(59)
            stops |= np.uint64(_SLOTS[slot] == code) << slot
        out[doc, 0], out[doc, 1], out[doc, 2] = rows[doc + 1] - rows[doc], content, chars
        out[doc, 3], out[doc, 4] = letters, ones(stops)


def measure_gopher(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    words = batch.words
    out = np.zeros((len(batch), len(_WORD_SIGNALS)), np.int64)
    _count_words(words.rows, batch.data, words.core_start, words.core_end, words.core_chars, words.flags, out)
    signals: dict[str, npt.NDArray[Any]] = {name: out[:, index] for index, name in enumerate(_WORD_SIGNALS)}
    lines = line_signals(batch)
    return Measured(signals | {name: lines[name] for name in _LINE_SIGNALS})


def measure_fineweb(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    lines = line_signals(batch, parameters["short_line_chars"])
    return Measured({name: lines[name] for name in FINEWEB_SIGNALS[:-1]} | {"words": batch.num_words})


def measure_mc4(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    lines = line_signals(batch)
    return Measured({name: lines[name] for name in MC4_SIGNALS})


GOPHER = Measurement(measure_gopher, (*_WORD_SIGNALS, *_LINE_SIGNALS))
FINEWEB = Measurement(measure_fineweb, FINEWEB_SIGNALS)
MC4 = Measurement(measure_mc4, MC4_SIGNALS)
