"""The `hash` of CPython 3.11 and later for strings and for pairs of them, under a PYTHONHASHSEED, by kernels.

    own = string_hashes(["a", "naïve"])        # int64, as `hash` gives them under PYTHONHASHSEED=42
    pair_hash(own[0], own[1])                  # in a kernel: that of the tuple of both

RedPajama-V2 counts n-grams in buckets of this hash, so that its counts can be read with it alone. A string is
hashed as CPython stores it, with one, two or four bytes a character, by SipHash-1-3 (Python/pyhash.c); a
tuple by the rounds of xxHash (Objects/tupleobject.c). Machines of 64 bits, little-endian, are meant; which
Python runs this does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.text.kernel import BYTES, OFFSETS, kernel, part

SEED = 42  # PYTHONHASHSEED of RedPajama-Data's app/Dockerfile
_U64 = np.uint64
_V = tuple(map(_U64, (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)))
_V0, _V1, _V2, _V3 = _V  # SipHash's own constants
_P1, _P2, _P5 = map(_U64, (11400714785074694791, 14029467366897019727, 2870177450012600261))  # xxHash's
_PAIR = _U64(2) ^ _P5 ^ _U64(3527539)  # added for a tuple of two
_ALL, _INSTEAD = _U64(0xFFFFFFFFFFFFFFFF), _U64(1546275796)  # -1 is an error in C, so no tuple has it
_OUT = types.Array(types.int64, 1, "C")


def secret(seed: int) -> tuple[np.uint64, np.uint64]:
    """The two keys that a PYTHONHASHSEED stands for (Python/bootstrap_hash.c); 0 turns the secret off."""
    drawn, state = bytearray(), seed
    for _ in range(16):
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        drawn.append(state >> 16 & 0xFF)
    low, high = np.frombuffer(bytes(drawn) if seed else bytes(16), "<u8")
    return _U64(low), _U64(high)


def string_hashes(strings: Sequence[str], seed: int = SEED) -> npt.NDArray[np.int64]:
    """Return the hash of each string."""
    stored = [_stored(string) for string in strings]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in stored])]).astype(np.int64)
    out = np.empty(len(stored), np.int64)
    _hash_rows(np.frombuffer(b"".join(stored), np.uint8), offsets, *secret(seed), out)
    return out


def _stored(string: str) -> bytes:
    """The characters as CPython lays them: the fewest bytes that the largest of them needs."""
    highest = max(string, default="")
    if highest <= "\xff":
        return string.encode("latin-1")
    return string.encode("utf-16-le" if highest <= "\uffff" else "utf-32-le", "surrogatepass")


@part
def _turned(value, by):  # type: ignore[no-untyped-def]
    return value << _U64(by) | value >> _U64(64 - by)


@part
def _round(a, b, c, d):  # type: ignore[no-untyped-def]
    a, c = a + b, c + d
    b, d = _turned(b, 13) ^ a, _turned(d, 16) ^ c
    a = _turned(a, 32)
    a, c = a + d, c + b
    b, d = _turned(b, 17) ^ c, _turned(d, 21) ^ a
    return a, b, _turned(c, 32), d


@kernel(types.void(BYTES, OFFSETS, types.uint64, types.uint64, _OUT))
def _hash_rows(data, offsets, low, high, out):  # type: ignore[no-untyped-def]
    for row in range(len(out)):
        start, stop = offsets[row], offsets[row + 1]
        if start == stop:
            out[row] = 0
            continue
        a, b, c, d = low ^ _V0, high ^ _V1, low ^ _V2, high ^ _V3
        words = (stop - start) // 8
        for word in range(words + 1):
            value = _U64(0)
            at = start + 8 * word
            for byte in range(min(np.int64(8), stop - at)):
                value |= _U64(data[at + byte]) << _U64(8 * byte)
            if word == words:  # what is left, with the length above it
                value |= _U64(stop - start) << _U64(56)
            d ^= value
            a, b, c, d = _round(a, b, c, d)
            a ^= value
        c ^= _U64(0xFF)
        for _ in range(3):
            a, b, c, d = _round(a, b, c, d)
        found = np.int64(a ^ b ^ c ^ d)
        out[row] = -2 if found == -1 else found


@part
def pair_hash(first, second):  # type: ignore[no-untyped-def]
    """The hash of a tuple of two things, from theirs."""
    state = _P5
    for lane in (first, second):
        state = _turned(state + _U64(lane) * _P2, 31) * _P1
    state += _PAIR
    return np.int64(_INSTEAD if state == _ALL else state)
