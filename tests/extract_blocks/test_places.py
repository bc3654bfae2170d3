"""The searches of 64 bytes at once find what a loop over the bytes finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from gristmill.pipeline.extract.blocks.compiled import find_byte, kernel, skip_blanks

assert kernel


@njit
def _find_byte(data, i, n, byte):  # type: ignore[no-untyped-def]
    return find_byte(data, i, n, byte)


@njit
def _skip_blanks(data, i, n):  # type: ignore[no-untyped-def]
    return skip_blanks(data, i, n)


RUNS = st.lists(
    st.tuples(st.sampled_from(b" \t\n\r\x0c\x0ba<\x80\xff\x00"), st.integers(1, 150)), max_size=8
).map(lambda runs: b"".join(bytes([byte]) * times for byte, times in runs))


@given(RUNS, st.integers(0, 200), st.integers(0, 100), st.sampled_from(b" <\x80\xff\x00"))
def test_a_byte_is_found_where_a_loop_finds_it(data: bytes, start: int, cut: int, byte: int) -> None:
    array, end = np.frombuffer(data, np.uint8), max(len(data) - cut, 0)
    found = data.find(byte, start, end)
    assert _find_byte(array, start, end, byte) == (found if found >= 0 else max(start, end))
    assert _find_byte(array, start, end, np.uint8(byte)) == (found if found >= 0 else max(start, end))


@given(RUNS, st.integers(0, 200), st.integers(0, 100))
def test_blanks_end_where_a_loop_ends_them(data: bytes, start: int, cut: int) -> None:
    end = max(len(data) - cut, 0)
    blanks = b" \t\n\r\x0c"
    expected = next((k for k in range(start, end) if data[k] not in blanks), max(start, end))
    assert _skip_blanks(np.frombuffer(data, np.uint8), start, end) == expected


@pytest.mark.parametrize("before", [0, 1, 63, 64, 65, 127, 128, 1000])
def test_the_first_of_several_is_found(before: int) -> None:
    data = np.frombuffer(b"a" * before + b"<<" + b"a" * 200 + b"<", np.uint8)
    assert _find_byte(data, 0, len(data), 60) == before
