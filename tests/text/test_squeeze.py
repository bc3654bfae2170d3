"""Texts with one blank between words, by columns: as single texts are normalised, on any Unicode."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.exact import _keys, normalise_text
from gristmill.dedup.settings.documents import ExactSettings
from gristmill.text.squeeze import inert_points, squeeze

ODD = (
    "e\u0301 \u00e9\u1100\u1161\uac00\u11a8\u212b\u0958\u09c7\u09be"
    "\U00016d63\U00016d67\u3099か\u2000\x1c\u200b_"
)
TEXTS = st.lists(st.text(max_size=20) | st.text(alphabet=ODD, max_size=12), min_size=1, max_size=8)


@given(TEXTS, st.sampled_from(["none", "space", "letters"]))
@settings(max_examples=300, deadline=None)
def test_columns_are_normalised_as_single_texts_are(texts: list[str], how: str) -> None:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    scopes = np.arange(len(texts), dtype=np.uint64)
    valid, high, low = _keys(ExactSettings(normalise=how), column, scopes)  # type: ignore[arg-type]
    single = [normalise_text(text, how) for text in texts]
    assert valid.tolist() == [bool(text) for text in single]
    plain = pa.chunked_array([pa.array(single, pa.large_string())])
    _, *expected = _keys(ExactSettings(normalise="none"), plain, scopes)
    assert [high.tolist(), low.tolist()] == [half.tolist() for half in expected]


def test_no_text_of_inert_points_is_changed_by_composition() -> None:
    inert = [chr(point) for point in range(0x20000) if inert_points()[point] and not 0xD800 <= point < 0xE000]
    assert len(inert) > 60_000
    assert all(unicodedata.is_normalized("NFC", char) for char in inert)
    for base in ("e", "\uac00", "\u1100", "\u09c7", "\U00016d63", "か"):
        whole = "".join(base + char for char in inert)
        assert unicodedata.normalize("NFC", whole) == whole


@pytest.mark.parametrize("text", ["naïve  café", "漢字 かな", "Ёлка\u00a0и  лес", "a\tb\u3000c "])
def test_common_texts_need_no_careful_reader(text: str) -> None:
    squeezed, odd = squeeze(pa.array([text, None], pa.large_string()))
    assert not odd.any()
    assert squeezed.to_pylist() == [" ".join(text.split()), ""]
