"""How this folder's kernels are compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from gristmill.text import kernel
from gristmill.text.lanes import LANES, address_of, between, lowest
from gristmill.text.utf8 import is_utf8

# Arrays are borrowed from the caller: no reference counts, whose atomic operations otherwise take most of the
# time of a loop that works on one byte at a time. Such a function allocates nothing and is called by kernels
# only; `njit` functions around it allocate. It is inlined, since an array is seven arguments to a call, and a
# tag would take ten calls with ten arrays each.
njit_borrowing: Any = njit(
    cache=True, nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)

# The same for the two largest, called once for a tag or a run of text: what is inlined is compiled again in
# each caller.
njit_called: Any = njit(cache=True, nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# Put into its one caller before types are known, and so compiled only there.
njit_inside: Any = njit(inline="always", _nrt=False)


@njit_borrowing
def wrapping_product(a, b):  # type: ignore[no-untyped-def]
    """Multiply modulo 2^64.

    A signed product that overflows is undefined to the compiler, which then decides comparisons of hashes
    with constants by itself.
    """
    return np.int64(np.uint64(a) * np.uint64(b))


@njit_borrowing
def is_space(c):  # type: ignore[no-untyped-def]
    """Tell whether a byte is white space of HTML."""
    return c == 32 or c == 10 or c == 9 or c == 13 or c == 12


@njit_called
def find_byte(data, i, n, byte):  # type: ignore[no-untyped-def]
    """Return the next place of a byte from i on, n where there is none: 64 bytes at once."""
    address, wanted = address_of(data), np.uint8(byte)
    while i + LANES <= n:
        before = lowest(between(address + np.uint64(i), wanted, wanted))
        if before < LANES:
            return i + before
        i += LANES
    while i < n and data[i] != byte:
        i += 1
    return i


@njit_called
def skip_blanks(data, i, n):  # type: ignore[no-untyped-def]
    """Return the first place from i on that holds no white space of HTML; pages indent by long runs."""
    address = address_of(data)
    while i < n and is_space(data[i]):
        i += 1
        while i + LANES <= n and data[i] == 32 and data[i + 1] == 32:
            i += lowest(~between(address + np.uint64(i), np.uint8(32), np.uint8(32)))
    return i


__all__ = [
    "find_byte", "is_space", "is_utf8", "kernel", "njit_borrowing", "njit_called", "njit_inside",
    "skip_blanks", "wrapping_product",
]  # fmt: skip
