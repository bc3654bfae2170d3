"""MD5 of whole columns of short strings, such as URLs, by a kernel over Arrow buffers: C4 orders pages by it.

    words = md5_words(urls)     # of each row the first eight bytes, as a number whose order is theirs

RFC 1321. `hashlib` is as fast for a long text, but each call costs a microsecond or two.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, OFFSETS, kernel
from gristmill.text.words import text_spans

_BLOCK = 64
_MESSAGE = types.Array(types.uint8, 1, "C")
_WORDS = types.Array(types.uint32, 1, "C")
_OUT = types.Array(types.uint64, 1, "C")
_SINES = np.array([int(abs(math.sin(step + 1)) * 2**32) for step in range(64)], np.uint32)
_TURNS = np.array([(7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21)], np.uint32).repeat(4, 0)
_TURNS = np.ascontiguousarray(_TURNS.ravel())
_PLACES = np.array(
    [(step, 5 * step + 1, 3 * step + 5, 7 * step)[step // 16] % 16 for step in range(64)], np.int64
)


def md5_words(texts: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return the first half of each row's MD5; null counts as an empty string."""
    starts, stops, data = text_spans(texts)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    longest = int((stops - starts).max(initial=0))
    message = np.empty(((longest + 8) // _BLOCK + 1) * _BLOCK, np.uint8)
    out = np.empty(len(starts), np.uint64)
    _hash_rows(starts, stops, data, message, message.view("<u4"), out)
    return out


@kernel(types.void(OFFSETS, OFFSETS, BYTES, _MESSAGE, _WORDS, _OUT))
def _hash_rows(starts, stops, data, message, words, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        size = stops[row] - starts[row]
        blocks = (size + 8) // _BLOCK + 1
        for i in range(size):
            message[i] = data[starts[row] + i]
        message[size] = 0x80
        for i in range(size + 1, blocks * _BLOCK):
            message[i] = 0
        bits = np.uint64(8 * size)
        words[blocks * 16 - 2] = np.uint32(bits & np.uint64(0xFFFFFFFF))
        words[blocks * 16 - 1] = np.uint32(bits >> np.uint64(32))
        h0, h1 = np.uint32(0x67452301), np.uint32(0xEFCDAB89)
        h2, h3 = np.uint32(0x98BADCFE), np.uint32(0x10325476)
        for block in range(blocks):
            a, b, c, d = h0, h1, h2, h3
            for step in range(64):
                if step < 16:
                    mixed = d ^ (b & (c ^ d))
                elif step < 32:
                    mixed = c ^ (d & (b ^ c))
                elif step < 48:
                    mixed = b ^ c ^ d
                else:
                    mixed = c ^ (b | ~d)
                total = np.uint32(a + mixed + _SINES[step] + words[16 * block + _PLACES[step]])
                turn = _TURNS[step]
                turned = np.uint32(total << turn) | np.uint32(total >> (np.uint32(32) - turn))
                a, d, c, b = d, c, b, np.uint32(b + turned)
            h0, h1 = np.uint32(h0 + a), np.uint32(h1 + b)
            h2, h3 = np.uint32(h2 + c), np.uint32(h3 + d)
        found = np.uint64(0)
        for word in (h0, h1):
            for i in range(4):
                found = found << np.uint64(8) | np.uint64((word >> np.uint32(8 * i)) & np.uint32(0xFF))
        out[row] = found
