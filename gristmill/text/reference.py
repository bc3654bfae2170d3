"""What the word pass means, in plain Python: slow, and the definition that the kernel is held to."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from gristmill.text.tables import CLOSE, END, UNIT, WIDE_END, point_class

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Word:
    """One word; offsets are in UTF-8 bytes from the start of the text."""

    text: str
    start: int
    end: int
    core: str
    core_start: int
    core_end: int
    line: int
    sentence: int
    glued: bool
    ends_sentence: bool

    @property
    def hash_exact(self) -> int:
        return hash_bytes(self.text.encode())

    @property
    def hash_folded(self) -> int:
        return fnv1a("".join(fold(char) for char in self.core))


def words(text: str) -> list[Word]:
    """Split a text into words, numbered by line and sentence."""
    found: list[Word] = []
    sentence = position = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        fresh = True
        for run_start, run in _runs(line):
            pieces = list(_cut(run))
            for index, (offset, piece) in enumerate(pieces):
                start = position + size(line[:run_start]) + size(run[:offset])
                before, core = _core(piece)
                core_start = start + size(before)
                ends = _ends(piece, followed_by_space=index == len(pieces) - 1)
                place = (start, start + size(piece), core, core_start, core_start + size(core))
                found.append(Word(piece, *place, number, sentence, index > 0, ends))
                fresh = ends
                sentence += ends
        sentence += not fresh
        position += size(line)
    return found


def _runs(line: str) -> Iterator[tuple[int, str]]:
    position = 0
    for run in line.split():
        position = line.index(run, position)
        yield position, run
        position += len(run)


def _cut(run: str) -> Iterator[tuple[int, str]]:
    """Cut a run where a script writes words without spaces."""
    start = 0
    for index, char in enumerate(run):
        if point_class(ord(char)) & UNIT:
            if index > start:
                yield start, run[start:index]
            yield index, char
            start = index + 1
    if start < len(run):
        yield start, run[start:]


def _core(word: str) -> tuple[str, str]:
    """Return what stands before the core, and the core."""
    places = [index for index, char in enumerate(word) if is_core(char)]
    return (word[: places[0]], word[places[0] : places[-1] + 1]) if places else ("", "")


def _ends(word: str, *, followed_by_space: bool) -> bool:
    for char in reversed(word):
        bits = point_class(ord(char))
        if bits & END:
            return followed_by_space or bool(bits & WIDE_END)
        if not bits & CLOSE:
            return False
    return False


def is_core(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def fold(char: str) -> str:
    """Lower-case one code point: unlike `str.lower` of a word, it does not depend on its neighbours."""
    return char.lower() if is_core(char) else char


def fnv1a(text: str) -> int:
    """FNV-1a over code points, finished."""
    h = 0xCBF29CE484222325
    for char in text:
        h = (h ^ ord(char)) * 0x100000001B3 & _MASK
    return _finish(h)


def hash_bytes(data: bytes) -> int:
    """FNV-1a over eight bytes at a time, begun with their number, each step's high half folded into its low
    one."""
    h = 0xCBF29CE484222325 ^ len(data)
    for i in range(0, len(data), 8):
        h = (h ^ int.from_bytes(data[i : i + 8], "little")) * 0x100000001B3 & _MASK
        h ^= h >> 32 if i + 8 <= len(data) else 0
    return _finish(h)


def _finish(h: int) -> int:
    """MurmurHash3's 64-bit mixer."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor & _MASK
    return h ^ h >> 33


def size(text: str) -> int:
    return len(text.encode())
