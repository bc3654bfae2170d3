"""Keys of lines by columns: as single texts are split, on any Unicode."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.below.line_keys import lines_of
from gristmill.dedup.below.split import pieces_of
from gristmill.dedup.settings.parts import LineSettings

TEXT = st.text(max_size=20) | st.text(alphabet="aB \t\r\n\x0b\x1c\x85\u00a0É\u0130\u03a3Σ_", max_size=16)


@given(st.lists(st.none() | TEXT, max_size=8))
@settings(max_examples=300, deadline=None)
def test_lines_have_the_keys_that_single_texts_give(texts: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    wanted = [
        (piece.key, text, number)
        for text, pieces in enumerate(pieces_of(LineSettings(), column))
        for number, piece in enumerate(pieces)
        if piece.key
    ]
    found = lines_of(column)
    assert (
        list(zip(found.keys.to_pylist(), found.texts.tolist(), found.numbers.tolist(), strict=True)) == wanted
    )
