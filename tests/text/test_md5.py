"""MD5 of columns is that of `hashlib`, row by row."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.text.md5 import md5_words


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=200), max_size=8))
def test_a_column_is_hashed_row_by_row(values: list[str | None]) -> None:
    assert md5_words(pa.array(values, pa.large_string())).tolist() == [_first_half(value) for value in values]


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 121, 5000])
def test_messages_that_fill_a_block_are_hashed_whole(length: int) -> None:
    values = ["a" * length, "\u6f22" * (length // 3)]
    assert md5_words(pa.array(values)).tolist() == [_first_half(value) for value in values]


def _first_half(value: str | None) -> int:
    return int.from_bytes(hashlib.md5((value or "").encode(), usedforsecurity=False).digest()[:8], "big")
