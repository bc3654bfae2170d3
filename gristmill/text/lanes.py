"""Sixty-four bytes at a time: which of them are of a class, as the bits of one integer.

What a processor cannot guess byte by byte, where a word or a line ends, it reads here from a few integers.
LLVM makes one comparison of 64 bytes of two or four instructions of any vector unit; without one it is
slower, not wrong. Bit 0 is the byte read first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gristmill.text.kernel import part
from gristmill.text.points import FNV_OFFSET, FNV_PRIME, finish, read
from gristmill.text.tables import BREAK, CLOSE, CORE, END, LETTER, SPACE, UNIT

LANES = 64
_LANE_BITS = ir.IntType(LANES)
_VECTOR = ir.VectorType(ir.IntType(8), LANES)

# Places of what `classify` finds in its array, behind the 64 bytes that hold a copy of the buffer's end.
SPACES, CORES, LETTERS, ENDS, CLOSES, BREAKS, TAILS = range(8, 15)
ROOM = 15

ZERO, ONE = np.uint64(0), np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@intrinsic  # type: ignore[misc]  # numba carries no types
def between(typing: Any, address: Any, low: Any, high: Any) -> Any:
    """Return which of the 64 bytes from an address on lie between two bytes, both included."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, first, last = arguments
        distance = builder.sub(_lanes(builder, place), _splat(builder, first))
        return builder.bitcast(
            builder.icmp_unsigned("<=", distance, _splat(builder, builder.sub(last, first))), _LANE_BITS
        )

    return types.uint64(types.uint64, types.uint8, types.uint8), generate


@intrinsic  # type: ignore[misc]
def letter(typing: Any, address: Any, lower: Any) -> Any:
    """Return which of the 64 bytes are a letter of ASCII, given in lower case, in either case."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, wanted = arguments
        folded = builder.or_(_lanes(builder, place), _splat(builder, ir.Constant(ir.IntType(8), 0x20)))
        return builder.bitcast(builder.icmp_unsigned("==", folded, _splat(builder, wanted)), _LANE_BITS)

    return types.uint64(types.uint64, types.uint8), generate


@intrinsic  # type: ignore[misc]
def lower_lanes(typing: Any, address: Any) -> Any:
    """Write 64 bytes anew with letters of ASCII in lower case; return which bytes are outside it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = _lanes(builder, arguments[0])

        def const(byte: int) -> Any:
            return ir.Constant(_VECTOR, [byte] * LANES)

        capital = builder.icmp_unsigned("<=", builder.sub(read, const(0x41)), const(25))
        lower = builder.select(capital, builder.or_(read, const(0x20)), read)
        builder.store(lower, builder.inttoptr(arguments[0], _VECTOR.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned(">=", read, const(0x80)), _LANE_BITS)

    return types.uint64(types.uint64), generate


def _lanes(builder: Any, place: Any) -> Any:
    return builder.load(builder.inttoptr(place, _VECTOR.as_pointer()), align=1)


def _splat(builder: Any, byte: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), byte, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [ir.Constant(ir.IntType(32), 0)] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


@intrinsic  # type: ignore[misc]
def address_of(typing: Any, array: Any) -> Any:
    """Return where an array's bytes begin; `array.ctypes.data` counts a reference each time, which costs more
    than a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(context.make_array(array)(context, builder, arguments[0]).data, _LANE_BITS)

    return types.uint64(array), generate


@intrinsic  # type: ignore[misc]
def load(typing: Any, address: Any) -> Any:
    """Return the eight bytes from an address on, the first in the low bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _LANE_BITS.as_pointer()), align=1)

    return types.uint64(types.uint64), generate


@intrinsic  # type: ignore[misc]
def copy_bytes(typing: Any, source: Any, target: Any, size: Any) -> Any:
    """Move bytes between two addresses whose stretches do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, end = (builder.inttoptr(place, ir.IntType(8).as_pointer()) for place in arguments[:2])
        cgutils.raw_memcpy(builder, end, start, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64), generate


@intrinsic  # type: ignore[misc]
def ones(typing: Any, bits: Any) -> Any:
    """Count the bits that are set."""
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(
        arguments[0]
    )


@intrinsic  # type: ignore[misc]
def lowest(typing: Any, bits: Any) -> Any:
    """Return the place of the lowest bit set, 64 of none."""
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.cttz(
        arguments[0], ir.Constant(ir.IntType(1), 0)
    )


@intrinsic  # type: ignore[misc]
def above(typing: Any, bits: Any) -> Any:
    """Return the place above the highest bit set, 0 of none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sub(
            ir.Constant(_LANE_BITS, LANES), builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        )

    return types.int64(types.uint64), generate


@part
def first_bits(count):  # type: ignore[no-untyped-def]
    """Return an integer with its lowest bits set, 0 to 64 of them."""
    return _ALL if count >= LANES else (ONE << np.uint64(count)) - ONE


@part
def window(data, i, stop, room):  # type: ignore[no-untyped-def]
    """Return the address of 64 readable bytes that begin with those at i: a copy where the buffer ends
    before."""
    if i + LANES <= len(data):
        return address_of(data) + np.uint64(i)
    return _copy_of_end(data, i, min(stop - i, LANES), room)


@part
def _copy_of_end(data, i, size, room):  # type: ignore[no-untyped-def]
    for word in range(8):
        room[word] = eight_bytes(data, i + 8 * word, min(max(size - 8 * word, 0), 8))
    return address_of(room)


@part
def eight_bytes(data, i, size):  # type: ignore[no-untyped-def]
    """Return up to eight bytes as an integer, the first in the low bits."""
    if i + 8 <= len(data):
        return load(address_of(data) + np.uint64(i)) & first_bits(8 * size)
    return _bytes_at_end(data, i, size)


@part
def _bytes_at_end(data, i, size):  # type: ignore[no-untyped-def]
    """Do so where the buffer ends before: a function apart, because LLVM blows the loop up beyond what it
    inlines."""
    found = ZERO
    for j in range(size):
        found |= np.uint64(data[i + j]) << np.uint64(8 * j)
    return found


@part
def with_sight(left, ahead):  # type: ignore[no-untyped-def]
    """Return how many bytes of a window to judge, so that each of them sees some bytes ahead where the text
    has any."""
    return left if left <= LANES else LANES - ahead


@part
def breaks_in(place):  # type: ignore[no-untyped-def]
    """Return where line breaks other than a newline begin; the last two bytes are not told for certain."""
    ascii = between(place, 11, 13) | between(place, 28, 30)
    next_line = between(place, 0xC2, 0xC2) & (between(place, 0x85, 0x85) >> ONE)
    separators = (
        between(place, 0xE2, 0xE2)
        & (between(place, 0x80, 0x80) >> ONE)
        & (between(place, 0xA8, 0xA9) >> np.uint64(2))
    )
    return ascii | next_line | separators


@part
def classify(data, i, stop, room):  # type: ignore[no-untyped-def]
    """Note the classes of the bytes from i on, and return how many they are: to a character that is a word by
    itself, or 64.

    All bytes of a character carry its classes, but an end mark is its last byte and a line break its first;
    TAILS are bytes that go on with a character. `\\n` after `\\r` is no break of its own within the window.
    """
    size = min(stop - i, LANES)
    place = window(data, i, stop, room)
    returns, newlines = between(place, 13, 13), between(place, 10, 10)
    letters = between(place, 65, 90) | between(place, 97, 122)
    breaks = between(place, 10, 13) | between(place, 28, 30)
    room[SPACES] = breaks | between(place, 31, 32) | between(place, 9, 9)
    room[LETTERS] = letters
    room[CORES] = letters | between(place, 48, 57)
    room[ENDS] = between(place, 33, 33) | between(place, 46, 46) | between(place, 63, 63)
    quotes = between(place, 34, 34) | between(place, 39, 39)
    room[CLOSES] = quotes | between(place, 41, 41) | between(place, 93, 93) | between(place, 125, 125)
    room[BREAKS] = breaks & ~((returns << ONE) & newlines)
    room[TAILS] = between(place, 0x80, 0xBF)
    wide = between(place, 0x80, 0xFF) & first_bits(size)
    if wide:
        return _add_wide(data, i, stop, size, wide, room)
    return size


@part
def _add_wide(data, i, stop, size, wide, room):  # type: ignore[no-untyped-def]
    """Note the classes of characters outside ASCII; return how far the window reaches without cutting one."""
    while wide:
        at = lowest(wide)
        _, width, bits = read(data, i + at, stop)
        if bits & UNIT or at + width > size:
            return at
        own = first_bits(width) << np.uint64(at)
        wide &= ~own
        if bits & SPACE:
            room[SPACES] |= own
            if bits & BREAK:
                room[BREAKS] |= ONE << np.uint64(at)
        elif bits & CORE:
            room[CORES] |= own
            if bits & LETTER:
                room[LETTERS] |= own
        elif bits & END:
            room[ENDS] |= ONE << np.uint64(at + width - 1)
        elif bits & CLOSE:
            room[CLOSES] |= own
    return size


@part
def hash_bytes(data, i, stop):  # type: ignore[no-untyped-def]
    """Hash bytes eight at a time, as `gristmill.text.reference.hash_bytes` does."""
    h = FNV_OFFSET ^ np.uint64(stop - i)
    while i + 8 <= stop:
        h = (h ^ load(address_of(data) + np.uint64(i))) * FNV_PRIME
        h ^= h >> np.uint64(32)
        i += 8
    if i < stop:
        h = (h ^ eight_bytes(data, i, stop - i)) * FNV_PRIME
    return finish(h)
