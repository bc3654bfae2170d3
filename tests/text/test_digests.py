"""Digests of columns are those of `digest16`, row by row."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.hashing import digest16
from gristmill.text.digests import digest16_rows

VALUES = st.lists(st.one_of(st.none(), st.text(max_size=300)), max_size=8)


@settings(deadline=None)
@given(constant=st.text(max_size=200), values=VALUES)
def test_a_column_is_hashed_behind_a_constant(constant: str, values: list[str | None]) -> None:
    expected = [None if value is None else digest16(constant, value) for value in _encoded(values)]
    assert digest16_rows(constant, pa.array(_encoded(values), pa.large_binary())).to_pylist() == expected


@settings(deadline=None)
@given(values=VALUES, more=st.binary(max_size=600))
def test_two_columns_are_hashed_together(values: list[str | None], more: bytes) -> None:
    first, second = _encoded(values), [more[place:] for place in range(len(values))]
    columns = pa.array(first, pa.large_binary()), pa.array(second, pa.binary())
    expected = [None if a is None else digest16(a, b) for a, b in zip(first, second, strict=True)]
    assert digest16_rows(*columns).to_pylist() == expected


@pytest.mark.parametrize("length", [0, 1, 111, 112, 113, 119, 120, 121, 239, 240, 241, 5000])
def test_messages_that_fill_a_block_are_hashed_whole(length: int) -> None:
    texts = ["a" * length, "\u6f22" * (length // 3), None, ""]
    expected = [None if text is None else digest16("row", text) for text in texts]
    assert digest16_rows("row", pa.array(texts)).to_pylist() == expected


def test_chunks_and_slices_keep_their_places() -> None:
    values = [f"https://example.org/{number}" for number in range(40)]
    column = pa.chunked_array([pa.array(values[:7]), pa.array(values[7:])])
    assert digest16_rows("url", column).to_pylist() == [digest16("url", value) for value in values]
    assert digest16_rows("url", pa.array(values).slice(11, 5)).to_pylist() == [
        digest16("url", value) for value in values[11:16]
    ]


def _encoded(values: list[str | None]) -> list[bytes | None]:
    return [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
