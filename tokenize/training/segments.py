"""From counted words to the runs of characters that pieces of a SentencePiece model are learned within.

As SentencePiece's trainer does it: a run ends at a character that the model has no piece for, at a digit, and
where the script changes. A blank goes with any script, a combining mark with the letter before it; Han,
Hiragana and Katakana are one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made

BLANK = " "
_NUM_POINTS = 0x110000
_NONE, _ALONE, _ANY, _MARK = 0, 1, 2, 3  # classes of characters; scripts follow
_COMBINING = "\u0301"
# SentencePiece writes a blank as U+2581; it stands for what has no piece by U+2585.
_WITHOUT_PIECE = "\0\u2581\u2585"

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of characters end to end, as numbers of `characters`; where each begins and the last ends; how
    often each occurs."""

    characters: list[str]
    symbols: I32
    starts: I64
    counts: I64


def points_of(words: pa.Table) -> tuple[I32, I64]:
    """The code points of counted words end to end, and where each word begins and the last ends."""
    array = words["word"].combine_chunks().cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    return _points(np.frombuffer(array.buffers()[2] or b"", np.uint8), offsets)  # type: ignore[no-any-return]


def counted_characters(points: I32, starts: I64, counts: I64) -> list[tuple[str, int]]:
    """Every character and how often it occurs, the most frequent first."""
    sums = _sums(points, starts, counts, np.zeros(_NUM_POINTS, np.int64))
    found = np.flatnonzero(sums)
    order = np.lexsort((found, -sums[found]))
    return [(chr(int(point)), int(sums[point])) for point in found[order]]


def covered(counted: list[tuple[str, int]], coverage: float) -> list[str]:
    """The most frequent characters that make up so much of the text."""
    total, done, kept = sum(count for _, count in counted), 0, []
    for char, count in counted:
        if done >= coverage * total:
            break
        done += count
        if char not in _WITHOUT_PIECE:
            kept.append(char)
    return kept


def runs_of(points: I32, starts: I64, counts: I64, characters: list[str]) -> Runs:
    """Cut words into runs of two characters and more, all of them in `characters`."""
    numbers, classes = np.zeros(_NUM_POINTS, np.int32), np.zeros(_NUM_POINTS, np.int16)
    ordered = sorted(characters)
    own = np.array([ord(char) for char in ordered], np.int64)
    numbers[own], classes[own] = np.arange(len(own)), classes_of(ordered)
    symbols, ends, word = _runs(points, starts, numbers, classes)
    return Runs(ordered, symbols, ends, counts[word])


def classes_of(characters: list[str]) -> npt.NDArray[np.int16]:
    """The class of each character; of a script's, a number from 4 on, by the scripts of `tokenizers`."""
    from tokenizers.pre_tokenizers import UnicodeScripts

    cut = UnicodeScripts().pre_tokenize_str

    def alike(one: str, other: str) -> bool:
        return len(cut(one + other)) == 1

    known: list[str] = [_COMBINING]  # the first character of each script
    found = np.empty(len(characters), np.int16)
    previous, script = "", 0
    for number, char in enumerate(characters):
        if char == BLANK:
            found[number] = _ANY
            continue
        if char.isdigit() and char.isdecimal():
            found[number] = _ALONE
            continue
        if not (previous and alike(previous, char)):  # neighbours by code point mostly are
            script = next((at for at, one in enumerate(known) if alike(one, char)), len(known))
            if script == len(known):
                known.append(char)
        previous = char
        found[number] = _MARK + script
    return found


@njit(cache=True, nogil=True)
def _points(data: npt.NDArray[np.uint8], offsets: I64) -> tuple[I32, I64]:
    points, starts = np.empty(offsets[-1] - offsets[0], np.int32), np.zeros(len(offsets), np.int64)
    used = 0
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        while at < stop:
            first = np.int32(data[at])
            size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            point = first if size == 1 else first & (0x7F >> size)
            for i in range(at + 1, min(at + size, stop)):
                point = (point << 6) | (np.int32(data[i]) & 0x3F)
            points[used] = point
            used += 1
            at += size
        starts[row + 1] = used
    return points[:used].copy(), starts


@njit(cache=True, nogil=True)
def _sums(points: I32, starts: I64, counts: I64, sums: I64) -> I64:
    for row in range(len(starts) - 1):
        for at in range(starts[row], starts[row + 1]):
            sums[points[at]] += counts[row]
    return sums


@njit(cache=True, nogil=True)
def _runs(points: I32, starts: I64, numbers: I32, classes: npt.NDArray[np.int16]) -> tuple[I32, I64, I64]:
    symbols = np.empty(len(points), np.int32)
    ends, word = np.zeros(len(points) + 1, np.int64), np.empty(len(points), np.int64)
    used = runs = 0
    for row in range(len(starts) - 1):
        script = _ANY
        begin = used
        for at in range(starts[row], starts[row + 1] + 1):
            kind = _NONE if at == starts[row + 1] else classes[points[at]]
            goes_on = kind > _ALONE and (kind <= _MARK or script == _ANY or kind == script)
            if not goes_on:
                if used - begin > 1:
                    runs += 1
                    ends[runs], word[runs - 1] = used, row
                else:
                    used = begin
                begin, script = used, _ANY
                if kind <= _ALONE:
                    continue
            symbols[used] = numbers[points[at]]
            used += 1
            if kind > _MARK:
                script = kind
    return symbols[:used].copy(), ends[: runs + 1].copy(), word[:runs].copy()
