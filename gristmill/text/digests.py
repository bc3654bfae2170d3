"""Digests of whole columns: `gristmill.hashing.digest16` of each row, by a kernel over Arrow buffers.

    keys = digest16_rows("url", urls)                # fixed_size_binary(16), null where a part is
    keys = digest16_rows("row", own_ids, texts)

BLAKE2b as of RFC 7693, without a key, for a digest of 16 bytes. `hashlib` is as fast for long texts, but each
call of it costs a microsecond besides.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, types

from gristmill.text.kernel import BYTES, part
from gristmill.text.words import text_spans

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_OUT = types.Array(types.uint8, 1, "C")
_WORDS = types.Array(types.uint64, 1, "C")  # the message, eight bytes at a time
_COLUMN = (_PLACES, _PLACES, BYTES)
_SIGNATURE = types.void(_OUT, types.int64, types.int64, *_COLUMN, *_COLUMN, _WORDS, _OUT)
_BLOCK = 128
_DIGEST_BYTES = 16
_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
).ravel()  # fmt: skip


def digest16_rows(*parts: str | pa.Array | pa.ChunkedArray) -> pa.Array:
    """Hash each row's parts to 16 bytes: constants first, then one or two columns of strings or of bytes.

    A row with a null in a column has a null digest. Each part is preceded by its length, as in `digest16`.
    """
    constants = [part.encode() for part in parts if isinstance(part, str)]
    columns = [_one(part) for part in parts if not isinstance(part, str)]
    if not len(columns[0]):
        return pa.array([], pa.binary(_DIGEST_BYTES))
    prefix = b"".join(len(each).to_bytes(8, "little") + each for each in constants)
    first, second = _spans(columns[0]), _spans(columns[-1])
    num_rows, num_columns = len(columns[0]), len(columns)
    longest = max(int((stops - starts).max(initial=0)) for starts, stops, _ in (first, second))
    num_blocks = (len(prefix) + num_columns * (longest + 8)) // _BLOCK + 1
    message = np.empty(num_blocks * _BLOCK, np.uint8)
    message[: len(prefix)] = np.frombuffer(prefix, np.uint8)
    out = np.empty(num_rows * _DIGEST_BYTES, np.uint8)
    _hash_rows(message, len(prefix), num_columns, *first, *second, message.view("<u8"), out)
    buffers = [None, pa.py_buffer(out)]
    digests = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_DIGEST_BYTES), num_rows, buffers)
    if any(column.null_count for column in columns):
        valid = pc.and_(columns[0].is_valid(), columns[-1].is_valid())
        digests = pc.if_else(valid, digests, pa.scalar(None, digests.type))
    return digests


def bytes_of(numbers: npt.NDArray[np.uint64]) -> pa.LargeBinaryArray:
    """Return a column of numbers as a column of eight bytes each, little-endian."""
    ends = np.arange(0, 8 * len(numbers) + 1, 8, dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(numbers, "<u8"))]
    return pa.Array.from_buffers(pa.large_binary(), len(numbers), buffers)


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _spans(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_binary())
        offsets, data = column.buffers()[1:]
        places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
        whole = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
        return places[:-1], places[1:], whole
    starts, stops, whole = text_spans(column)
    return starts, np.ascontiguousarray(stops), whole


@part
def _mix(a, b, c, d, x, y):  # type: ignore[no-untyped-def]
    """The function G of RFC 7693, section 3.1."""
    a = a + b + x
    d = d ^ a
    d = (d >> np.uint64(32)) | (d << np.uint64(32))
    c = c + d
    b = b ^ c
    b = (b >> np.uint64(24)) | (b << np.uint64(40))
    a = a + b + y
    d = d ^ a
    d = (d >> np.uint64(16)) | (d << np.uint64(48))
    c = c + d
    b = b ^ c
    b = (b >> np.uint64(63)) | (b << np.uint64(1))
    return a, b, c, d


@part
def _compress(h, m, counted, is_last):  # type: ignore[no-untyped-def]
    """The function F of RFC 7693, section 3.2: take in the 16 words of a block."""
    v0, v1, v2, v3, v4, v5, v6, v7 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
    v8, v9, v10, v11, v12, v13, v14, v15 = _IV[0], _IV[1], _IV[2], _IV[3], _IV[4], _IV[5], _IV[6], _IV[7]
    v12 = v12 ^ counted
    if is_last:
        v14 = ~v14
    for at in range(0, 192, 16):
        v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[_SIGMA[at]], m[_SIGMA[at + 1]])
        v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[_SIGMA[at + 2]], m[_SIGMA[at + 3]])
        v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[_SIGMA[at + 4]], m[_SIGMA[at + 5]])
        v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[_SIGMA[at + 6]], m[_SIGMA[at + 7]])
        v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[_SIGMA[at + 8]], m[_SIGMA[at + 9]])
        v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[_SIGMA[at + 10]], m[_SIGMA[at + 11]])
        v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[_SIGMA[at + 12]], m[_SIGMA[at + 13]])
        v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[_SIGMA[at + 14]], m[_SIGMA[at + 15]])
    h[0] ^= v0 ^ v8
    h[1] ^= v1 ^ v9
    h[2] ^= v2 ^ v10
    h[3] ^= v3 ^ v11
    h[4] ^= v4 ^ v12
    h[5] ^= v5 ^ v13
    h[6] ^= v6 ^ v14
    h[7] ^= v7 ^ v15


@part
def _append(message, at, data, start, stop):  # type: ignore[no-untyped-def]
    """Put a value after its length; return where the message ends."""
    length = np.uint64(stop - start)
    for i in range(8):
        message[at + i] = np.uint8((length >> np.uint64(8 * i)) & np.uint64(255))
    at += 8
    for i in range(start, stop):
        message[at] = data[i]
        at += 1
    return at


@njit([_SIGNATURE], cache=True, nogil=True)
def _hash_rows(  # type: ignore[no-untyped-def]
    message, prefix, columns, starts, stops, data, more_starts, more_stops, more, words, out
):
    h, m = np.empty(8, np.uint64), np.empty(16, np.uint64)
    for row in range(len(starts)):
        at = _append(message, prefix, data, starts[row], stops[row])
        if columns == 2:
            at = _append(message, at, more, more_starts[row], more_stops[row])
        blocks = max((at + _BLOCK - 1) // _BLOCK, 1)
        for place in range(at, blocks * _BLOCK):
            message[place] = 0
        h[:] = _IV
        h[0] ^= np.uint64(0x01010000 | _DIGEST_BYTES)
        for block in range(blocks):
            for word in range(16):
                m[word] = words[block * 16 + word]
            is_last = block == blocks - 1
            _compress(h, m, np.uint64(at if is_last else (block + 1) * _BLOCK), is_last)
        for word in range(2):
            for i in range(8):
                out[row * _DIGEST_BYTES + word * 8 + i] = np.uint8(
                    (h[word] >> np.uint64(8 * i)) & np.uint64(255)
                )
