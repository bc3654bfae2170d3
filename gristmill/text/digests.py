"""Digests of whole columns: `gristmill.hashing.digest16` of each row, by a kernel over Arrow buffers.

    keys = digest16_rows("url", urls)                # fixed_size_binary(16), null where a part is
    keys = digest16_rows("row", own_ids, texts)

BLAKE2b as of RFC 7693, without a key, for a digest of 16 bytes. `hashlib` is as fast for long texts, but each
call of it costs a microsecond besides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.lanes import ZERO, address_of, copy_bytes
from gristmill.text.words import text_spans

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_MESSAGE = types.Array(types.uint8, 1, "C")
_WORDS = types.Array(types.uint64, 1, "C")
_COLUMN = (_PLACES, _PLACES, BYTES)
_SIGNATURE = types.void(_MESSAGE, types.int64, types.int64, *_COLUMN, *_COLUMN, _WORDS, _WORDS)
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
).tolist()  # fmt: skip
# Words of the state that one call of G mixes: columns, then diagonals.
_QUARTERS = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


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
    out = np.empty(num_rows * _DIGEST_BYTES // 8, np.uint64)
    _hash_rows(message, len(prefix), num_columns, *first, *second, np.empty(8, np.uint64), out)
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


@intrinsic  # type: ignore[misc]  # numba carries no types
def _compress(typing: Any, state: Any, block: Any, counted: Any, is_last: Any) -> Any:
    """The function F of RFC 7693, section 3.2, over addresses: take the 128 bytes of a block into the eight
    words of the state.

    All twelve rounds are written out, so that every word of the message is read from a fixed place.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        state, block, counted, is_last = arguments
        word = ir.IntType(64)

        def place(base: Any, number: int) -> Any:
            at = builder.add(base, ir.Constant(word, 8 * number))
            return builder.inttoptr(at, word.as_pointer())

        h = [builder.load(place(state, number), align=1) for number in range(8)]
        m = [builder.load(place(block, number), align=1) for number in range(16)]
        v = h + [ir.Constant(word, int(each)) for each in _IV]
        v[12] = builder.xor(v[12], counted)
        v[14] = builder.xor(v[14], is_last)
        for row in _SIGMA:
            for number, (a, b, c, d) in enumerate(_QUARTERS):
                x, y = (m[at] for at in row[2 * number : 2 * number + 2])
                v[a], v[b], v[c], v[d] = _mix(builder, v[a], v[b], v[c], v[d], x, y)
        for number in range(8):
            mixed = builder.xor(builder.xor(h[number], v[number]), v[number + 8])
            builder.store(mixed, place(state, number), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.uint64), generate


def _mix(builder: Any, a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    """The function G of RFC 7693, section 3.1."""

    def turned(value: Any, bits: int) -> Any:
        shift = (ir.Constant(ir.IntType(64), count) for count in (bits, 64 - bits))
        right, left = shift
        return builder.or_(builder.lshr(value, right), builder.shl(value, left))

    a = builder.add(builder.add(a, b), x)
    d = turned(builder.xor(d, a), 32)
    c = builder.add(c, d)
    b = turned(builder.xor(b, c), 24)
    a = builder.add(builder.add(a, b), y)
    d = turned(builder.xor(d, a), 16)
    c = builder.add(c, d)
    return a, turned(builder.xor(b, c), 63), c, d


@part
def _append(message, at, data, start, stop):  # type: ignore[no-untyped-def]
    """Put a value after its length; return where the message ends."""
    length = np.uint64(stop - start)
    for i in range(8):
        message[at + i] = np.uint8((length >> np.uint64(8 * i)) & np.uint64(255))
    at += 8
    if stop > start:
        copy_bytes(address_of(data) + np.uint64(start), address_of(message) + np.uint64(at), stop - start)
    return at + stop - start


@kernel(_SIGNATURE)
def _hash_rows(  # type: ignore[no-untyped-def]
    message, prefix, columns, starts, stops, data, more_starts, more_stops, more, h, out
):
    for row in range(len(starts)):
        at = _append(message, prefix, data, starts[row], stops[row])
        if columns == 2:
            at = _append(message, at, more, more_starts[row], more_stops[row])
        blocks = max((at + _BLOCK - 1) // _BLOCK, 1)
        for place in range(at, blocks * _BLOCK):
            message[place] = 0
        for word in range(8):
            h[word] = _IV[word]
        h[0] ^= np.uint64(0x01010000 | _DIGEST_BYTES)
        for block in range(blocks):
            is_last = block == blocks - 1
            _compress(
                address_of(h),
                address_of(message) + np.uint64(block * _BLOCK),
                np.uint64(at if is_last else (block + 1) * _BLOCK),
                _ALL if is_last else ZERO,
            )
        for word in range(2):
            out[2 * row + word] = h[word]
