"""Words are counted as they are found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gristmill.text.word_counts import num_words
from gristmill.text.words import text_spans, words_of

PIECES = st.sampled_from(
    [
        "word",
        "a",
        " ",
        "\n",
        "\u3000",
        "\u2028",
        "\x1f",
        "中",
        "ไ",
        "か゛",
        "é",
        "🙂",
        "'",
        "\u0301",
        "漢字",
        "x" * 61,
    ]
)


def check(texts: list[str | None]) -> None:
    column = pa.array(texts, pa.large_string())
    starts, stops, data = text_spans(column)
    assert num_words(starts, stops, data).tolist() == np.diff(words_of(column).rows).tolist()


def test_words_at_every_place_of_a_window_are_counted() -> None:
    texts = [
        f"{'a' * before}{middle}{'b' * after}"
        for before in range(66)
        for middle in (" ", "中", "é", "\u2009é中 ")
        for after in (0, 1, 70)
    ]
    check([None, "", " ", *texts, "中" * 100, "é " * 100, " 中x" * 40])


@given(st.lists(st.lists(PIECES, max_size=60).map("".join), max_size=5))
def test_any_text_has_as_many_words_as_are_found(texts: list[str]) -> None:
    check(texts)


@given(st.text(max_size=300))
def test_so_has_any_unicode(text: str) -> None:
    check([text, text + " " + text])
