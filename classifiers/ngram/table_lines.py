"""The table of an n-gram model: lines of 64 bytes, the unit that a processor reads from memory.

An n-gram's key says its line, by its upper 32 bits; within the line it is known by 32 bits of its hash, all
of which one vector instruction compares. So a look-up is one read, and what is not there is seen at once. A
line that is full hands what is left to the next and says so in its last byte, whose low four bits are the
number of n-grams in it:

    12 x (4 bytes of hash), 12 x 1 code        Stupid Backoff: counts
     9 x (4 bytes of hash),  9 x 3 codes       Kneser-Ney: the numbers of `kneser_ney`

Lines are two thirds full on average: 8 or 10.7 bytes an n-gram. The chance that an n-gram that was not
counted is taken for one that was is 2 in 10^9 a look-up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gristmill.cards import damaged_model
from gristmill.files.disk import named
from gristmill.text.kernel import kernel, part
from gristmill.text.lanes import load, lowest

LINE_BYTES = 64
ROOM = {1: 12, 3: 9}  # n-grams in a line, by their number of codes
_USUAL = {1: 8, 3: 6}
_SPARE = 64  # lines behind the last, for what it hands on
FOUND = np.uint32(1 << 31)  # of what `find` returns; the codes lie in the low bytes

_LANES = 16
_VECTOR = ir.VectorType(ir.IntType(32), _LANES)
_ONE, _3, _6, _15, _32, _41, _56 = (np.uint64(value) for value in (1, 3, 6, 15, 32, 41, 56))
_SPILLS, _BYTE, _THREE_BYTES = np.uint64(128), np.uint64(0xFF), np.uint64(0xFFFFFF)
_KEYS = types.Array(types.uint64, 1, "C", readonly=True)
_CODES = types.Array(types.uint8, 2, "C", readonly=True)


@intrinsic  # type: ignore[misc]  # numba carries no types
def _equal(typing: Any, address: Any, wanted: Any) -> Any:
    """Return which of the sixteen 32-bit integers from an address on equal one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, value = arguments
        lanes = builder.load(builder.inttoptr(place, _VECTOR.as_pointer()), align=4)
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(_VECTOR, [ir.Constant(ir.IntType(32), 0)] * _LANES)
        same = builder.icmp_unsigned("==", lanes, builder.shuffle_vector(one, nothing, zeros))
        return builder.zext(builder.bitcast(same, ir.IntType(_LANES)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint32), generate


@part
def _in_line(address, mark):  # type: ignore[no-untyped-def]
    """Return (which places of a line hold a hash, what its last byte says)."""
    head = load(address + _56) >> _56
    return _equal(address, mark) & ((_ONE << (head & _15)) - _ONE), head


@part
def _codes(address, lane, num_codes):  # type: ignore[no-untyped-def]
    if num_codes == 1:
        return FOUND | np.uint32(load(address + _41 + lane) >> _56)
    return FOUND | np.uint32((load(address + _32 + _3 * lane) >> _32) & _THREE_BYTES)


@part
def find(base, num_lines, key, num_codes):  # type: ignore[no-untyped-def]
    """Return the codes of an n-gram with FOUND, 0 where it is not there; `base` is the address of the first
    line."""
    address = base + ((((key >> _32) * num_lines) >> _32) << _6)
    mark = np.uint32(key >> _3)
    places, head = _in_line(address, mark)
    if (places == 0) & (head >= _SPILLS):
        return _find_beyond(address, mark, num_codes)
    codes = _codes(address, np.uint64(lowest(places)) & _15, num_codes)  # of no place it reads the first
    return codes if places else np.uint32(0)


@part
def _find_beyond(address, mark, num_codes):  # type: ignore[no-untyped-def]
    while True:
        address += np.uint64(LINE_BYTES)
        places, head = _in_line(address, mark)
        if places:
            return _codes(address, np.uint64(lowest(places)), num_codes)
        if head < _SPILLS:
            return np.uint32(0)


@kernel(types.int64(_KEYS, _CODES, types.Array(types.uint8, 2, "C"), types.int64, types.int64))
def _fill(keys, codes, lines, num_lines, line):  # type: ignore[no-untyped-def]
    """Put n-grams, in order of keys, into lines from the one at hand on; return the last one used, -1 when
    there is no room."""
    num_codes = codes.shape[1]
    room = 12 if num_codes == 1 else 9
    for n in range(len(keys)):
        home = np.int64(((keys[n] >> _32) * np.uint64(num_lines)) >> _32)
        line = max(line, home)
        if lines[line, 63] & 15 == room:
            line += 1
        if line == len(lines):
            return -1
        for full in range(home, line):
            lines[full, 63] |= 128
        used = lines[line, 63] & 15
        for byte in range(4):
            lines[line, 4 * used + byte] = (keys[n] >> np.uint64(3 + 8 * byte)) & _BYTE
        for number in range(num_codes):
            lines[line, 4 * room + num_codes * used + number] = codes[n, number]
        lines[line, 63] += 1
    return line


class LineWriter:
    """Write a table of a known number of n-grams, ranges of keys in their order."""

    def __init__(self, path: Path, num_ngrams: int, num_codes: int) -> None:
        self.num_lines = -(-num_ngrams // _USUAL[num_codes]) or 1
        self._line = 0
        shape = self.num_lines + _SPARE, LINE_BYTES
        with named(path), path.open("wb") as file:
            file.truncate(shape[0] * LINE_BYTES)
            if hasattr(os, "posix_fallocate"):  # a disk that is full when a mapped page is written kills
                os.posix_fallocate(file.fileno(), 0, shape[0] * LINE_BYTES)
        self._lines = np.memmap(path, np.uint8, "r+", shape=shape)

    def write(self, keys: npt.NDArray[np.uint64], codes: npt.NDArray[np.uint8]) -> None:
        """Append n-grams with their codes, one row each."""
        rows = np.ascontiguousarray(keys), np.ascontiguousarray(codes)
        self._line = int(_fill(*rows, self._lines, self.num_lines, self._line))
        if self._line < 0:
            raise ValueError(
                f"more n-grams share upper bits than {_SPARE} spare lines hold: keys are no hashes"
            )

    def close(self) -> None:
        self._lines.flush()


def open_lines(path: Path, num_lines: int, num_codes: int) -> npt.NDArray[np.uint8]:
    """Map a table: its pages are shared between processes.

    Raises IntegrityError for one that has not so many lines, or whose last one hands on what is behind it: a
    look-up reads where these say, and nothing else ends it.
    """
    size, whole = path.stat().st_size, (num_lines + _SPARE) * LINE_BYTES
    if size != whole:
        raise damaged_model(path, f"it has {size:,} bytes, and {num_lines:,} lines make {whole:,}")
    lines = np.asarray(np.memmap(path, np.uint8, "r"))
    if (last := int(lines[-1])) >= 128 or last & 15 > ROOM[num_codes]:
        raise damaged_model(path, "its last line says that n-grams lie behind it")
    return lines
