"""The word pass: one walk over UTF-8 bytes finds words, their cores and hashes, lines and sentences.

    texts = pa.array(["Hello, wide world.", None], pa.large_string())
    words = words_of(texts)          # or spans(offsets, data) on bare buffers
    first = slice(words.rows[0], words.rows[1])
    words.core_start[first]          # byte offsets into the data buffer

Definitions, for which `gristmill.text.reference` is the executable text:
- a *run* is what `str.split()` returns; a *word* is a run, except that each Han, Kana, Thai, Lao or Khmer
  letter, mark or number is a word by itself and cuts its run (else whole languages are one word). `GLUED`
  marks a word that continues a run;
- its *core* reaches from its first to its last letter, mark or number; it is empty (start = end) for bare
  punctuation;
- `hash_exact` is of the bytes of the whole word, eight at a time; `hash_folded` of the core in lower case,
  code point by code point (U+0130 gives `i` + U+0307; no final sigma): FNV-1a, finished by MurmurHash3's
  mixer. An empty core hashes to the offset's;
- lines are those of `str.splitlines`, numbered from 0 within a text;
- a sentence ends with its line, or after a word that ends in an end mark (Unicode's Sentence_Terminal),
  closing quotes and brackets aside, if white space follows or the mark is one of scripts that put none
  (。！？｡．).

The kernel reads 64 bytes at a time: some 300 MB/s on one core, 180 with folded hashes. Bytes that are not
UTF-8 do not crash it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, OFFSETS, kernel, part
from gristmill.text.lanes import (
    BREAKS,
    CLOSES,
    CORES,
    ENDS,
    LETTERS,
    ONE,
    ROOM,
    SPACES,
    TAILS,
    ZERO,
    above,
    classify,
    first_bits,
    hash_bytes,
    lowest,
    ones,
)
from gristmill.text.points import ASCII_LOWER, FNV_OFFSET, FNV_PRIME, finish, lower_of, read
from gristmill.text.tables import CLOSE, CORE, END, LETTER, SPACE, UNIT, WIDE_END

HAS_LETTER = 1  # bits of Words.flags
GLUED = 2
ENDS_SENTENCE = 4

Int64s = npt.NDArray[np.int64]


class Words(NamedTuple):
    """Words of consecutive texts, one array per attribute; text i has the words rows[i] to rows[i + 1]."""

    start: Int64s  # byte offsets into the data buffer
    end: Int64s
    core_start: Int64s
    core_end: Int64s
    hash_exact: npt.NDArray[np.uint64]
    hash_folded: npt.NDArray[np.uint64]
    line: npt.NDArray[np.int32]
    sentence: npt.NDArray[np.int32]
    chars: npt.NDArray[np.int32]  # code points of the word
    core_chars: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    rows: Int64s


_I64, _U64 = types.Array(types.int64, 1, "C"), types.Array(types.uint64, 1, "C")
_PLACES, _HASHES = types.Array(types.int64, 2, "C"), types.Array(types.uint64, 2, "C")
_NUMBERS, _FLAGS = types.Array(types.int32, 2, "C"), types.Array(types.uint8, 1, "C")


@part
def _hash_folded(data, i, stop):  # type: ignore[no-untyped-def]
    h = FNV_OFFSET
    while i < stop:
        if data[i] < 0x80:
            h = (h ^ np.uint64(ASCII_LOWER[data[i]])) * FNV_PRIME
            i += 1
            continue
        point, width, bits = read(data, i, stop)
        h = (h ^ np.uint64(lower_of(point) if bits & CORE else point)) * FNV_PRIME
        if point == 0x130:
            h = (h ^ np.uint64(0x307)) * FNV_PRIME
        i += width
    return finish(h)


@part
def _put(  # type: ignore[no-untyped-def]
    n, start, end, core_start, core_end, line, sentence, chars, core_chars, flag, places, numbers, flags
):
    places[0, n], places[1, n], places[2, n], places[3, n] = start, end, core_start, core_end
    numbers[0, n], numbers[1, n], numbers[2, n], numbers[3, n] = line, sentence, chars, core_chars
    flags[n] = flag


@part
def _run(data, i, stop, n, line, sentence, unfinished, places, numbers, flags):  # type: ignore[no-untyped-def]
    """Find the words of the run at i, character by character; return (end of the run, words, sentence,
    unfinished)."""
    in_word = False
    unit = False  # the open word is a script's single code point: whatever follows is another word
    glued = 0
    start = first_core = last_core = i
    chars = core_chars = seen = mark = np.int64(0)  # a literal would compile `_put` anew
    letter = np.int64(0)
    while True:
        width, bits = 0, np.int64(SPACE)
        if i < stop:
            _, width, bits = read(data, i, stop)
        space = bits & SPACE
        if in_word and (space or unit or bits & UNIT):
            ends = mark == 2 or (mark == 1 and space)
            flag = (HAS_LETTER if letter & LETTER else 0) | glued | (ENDS_SENTENCE if ends else 0)
            _put(
                n,
                start,
                i,
                first_core,
                last_core,
                line,
                sentence,
                chars,
                core_chars,
                flag,
                places,
                numbers,
                flags,
            )
            n += 1
            sentence += ends
            unfinished = not ends
            in_word = False
            glued = GLUED
        if space:
            return i, n, sentence, unfinished
        if not in_word:
            in_word = True
            unit = bits & UNIT != 0
            start = first_core = last_core = i
            chars = core_chars = mark = np.int64(0)
            letter = np.int64(0)
        chars += 1
        if bits & CORE:
            if last_core == first_core:
                first_core = i
                seen = 0  # type: ignore[assignment]  # the same type once compiled
            last_core = i + width
            seen += 1
            core_chars = seen
            letter |= bits
        else:
            seen += 1
        if bits & END:
            mark = 2 if bits & WIDE_END else 1  # type: ignore[assignment]
        elif not bits & CLOSE:
            mark = 0  # type: ignore[assignment]
        i += width


@kernel(types.int64(OFFSETS, OFFSETS, BYTES, types.boolean, _PLACES, _HASHES, _NUMBERS, _FLAGS, _I64, _U64))
def _scan(starts, stops, data, fold, places, hashes, numbers, flags, rows, room):  # type: ignore[no-untyped-def]
    """Find words 64 bytes at a time; a run with words inside it, or one longer than that, goes character by
    character."""
    n = np.int64(0)
    for doc in range(len(starts)):
        rows[doc] = n
        i, stop = starts[doc], stops[doc]
        line = sentence = 0
        unfinished = False  # a word came since the last sentence's end
        while i < stop:
            size = classify(data, i, stop, room)
            inside = first_bits(size)
            words, breaks = ~room[SPACES] & inside, room[BREAKS] & inside
            if i > starts[doc] and data[i] == 10 and data[i - 1] == 13:
                breaks &= ~ONE
            cores, letters, tails = room[CORES], room[LETTERS], room[TAILS]
            telling = room[ENDS] | ~room[CLOSES]
            used = size
            while words:
                rest = words & (words + (words & (~words + ONE)))
                own = words ^ rest
                first, last = lowest(own), above(own)
                if last == size and i + size < stop:
                    used = first
                    break
                gap = breaks & first_bits(first)
                if gap:
                    breaks ^= gap
                    line += ones(gap)
                    sentence += unfinished
                    unfinished = False
                core = own & cores
                core_first, core_last = (lowest(core), above(core)) if core else (first, first)
                core_chars = ones(~tails & first_bits(core_last) & ~first_bits(core_first))
                start, end, core_start, core_end = i + first, i + last, i + core_first, i + core_last
                chars = ones(own & ~tails)
                ends = (room[ENDS] >> np.uint64(max(above(own & telling) - 1, 0))) & (own & telling != ZERO)
                flag = (HAS_LETTER if own & letters else 0) | (ENDS_SENTENCE if ends else 0)
                _put(
                    n,
                    start,
                    end,
                    core_start,
                    core_end,
                    line,
                    sentence,
                    chars,
                    core_chars,
                    flag,
                    places,
                    numbers,
                    flags,
                )
                n += 1
                sentence += ends
                unfinished = not ends
                words = rest
            gap = breaks & first_bits(used)
            if gap:
                line += ones(gap)
                sentence += unfinished
                unfinished = False
            i += used
            if used == 0:
                i, n, sentence, unfinished = _run(
                    data, i, stop, n, line, sentence, unfinished, places, numbers, flags
                )
        for word in range(np.uint64(rows[doc]), np.uint64(n)):
            hashes[0, word] = hash_bytes(data, places[0, word], places[1, word])
        if fold:
            for word in range(np.uint64(rows[doc]), np.uint64(n)):
                hashes[1, word] = _hash_folded(data, places[2, word], places[3, word])
    rows[len(starts)] = n
    return n


def spans(offsets: Int64s, data: npt.NDArray[np.uint8]) -> Words:
    """Find the words of the texts data[offsets[i]:offsets[i + 1]]."""
    return scan(offsets[:-1], offsets[1:], data)


class Scratch:
    """Arrays that one batch after another uses: fresh memory costs a page fault per 4 KiB, as much as the
    kernels themselves.

    What was taken under a name is overwritten when that name is taken again.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Any] = {}

    def empty(self, name: str, size: int, dtype: npt.DTypeLike) -> Any:
        if name not in self._arrays or len(self._arrays[name]) < size:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size]


def scan(
    starts: Int64s,
    stops: Int64s,
    data: npt.NDArray[np.uint8],
    scratch: Scratch | None = None,
    fold: bool = True,
) -> Words:
    """Find the words of the texts data[starts[i]:stops[i]].

    With a scratch, they last until its next scan. Without `fold`, `hash_folded` holds nothing of use: half of
    the time goes there.
    """
    scratch = scratch or Scratch()
    starts, stops = np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(stops, np.int64)
    # A word by itself takes 3 bytes, any other a byte and what parts it from the next: memory untouched is
    # not taken.
    room = int(((stops - starts) // 2 + 1).sum())
    places = scratch.empty("places", 4 * room, np.int64).reshape(4, room)
    hashes = scratch.empty("hashes", 2 * room, np.uint64).reshape(2, room)
    numbers = scratch.empty("numbers", 4 * room, np.int32).reshape(4, room)
    flags = scratch.empty("flags", room, np.uint8)
    rows = np.empty(len(starts) + 1, np.int64)
    count = _scan(starts, stops, data, fold, places, hashes, numbers, flags, rows, np.empty(ROOM, np.uint64))
    return Words._make([*places[:, :count], *hashes[:, :count], *numbers[:, :count], flags[:count], rows])


def words_of(texts: pa.Array | pa.ChunkedArray) -> Words:
    """Find the words of an Arrow string column; null has none."""
    return scan(*text_spans(texts))


def text_spans(texts: pa.Array | pa.ChunkedArray) -> tuple[Int64s, Int64s, npt.NDArray[np.uint8]]:
    """View a string column as (starts, stops, data) without a copy where it is one large_string chunk.

    Slices keep their offset; null is an empty text, whatever bytes lie under it.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()
    if texts.type != pa.large_string():
        texts = texts.cast(pa.large_string())
    _, offsets_buffer, data_buffer = texts.buffers()
    if len(texts) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = (
        np.frombuffer(data_buffer, np.uint8)
        if data_buffer is not None and data_buffer.size
        else np.zeros(0, np.uint8)
    )
    starts, stops = offsets[:-1], offsets[1:]
    if texts.null_count:
        stops = np.where(np.asarray(texts.is_valid()), stops, starts)
    return starts, stops, data
