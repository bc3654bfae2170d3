"""How this folder's kernels are compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from gristmill.text import kernel

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


_WIDTH = 64  # bytes compared at once


@njit_called
def find_byte(data, i, n, byte):  # type: ignore[no-untyped-def]
    """Return the next place of a byte from i on, n where there is none: nine times as fast as one by one."""
    while i + _WIDTH <= n:
        chunk, found = data[i : i + _WIDTH], np.uint8(0)
        for k in range(_WIDTH):
            found |= np.uint8(chunk[k] == byte)
        if found:
            break
        i += _WIDTH
    while i < n and data[i] != byte:
        i += 1
    return i


__all__ = [
    "find_byte",
    "is_space",
    "kernel",
    "njit_borrowing",
    "njit_called",
    "njit_inside",
    "wrapping_product",
]
