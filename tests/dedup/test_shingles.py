from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.dedup.near.shingles import shingle_texts
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.text.cores import cores_of
from gristmill.text.words import words_of


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


@given(
    st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=40), max_size=6), st.integers(0, 3)
)
@example(["«x»... (a) İstanbul漢字b漢.c ไทยx é\u0301 ٣.٤ ...", None, "漢", "・a・"], 0)
@settings(max_examples=100, deadline=None)
def test_word_hashes_are_those_of_the_shared_word_pass(texts: list[str | None], skip: int) -> None:
    text = column(*texts).slice(skip)
    words = words_of(text)
    cored = words.core_end > words.core_start
    hashes, bounds = cores_of(text)
    assert hashes.tolist() == words.hash_folded[cored].tolist()
    assert bounds.tolist() == np.concatenate([[0], np.cumsum(cored)])[words.rows].tolist()


def test_a_text_of_n_words_has_one_shingle_and_of_n_plus_one_two() -> None:
    shingles, bounds = shingle_texts(
        FuzzySettings(), column("a b c d e", "A, b! (c) D e f", "a b c d", "a b c d", "...", None)
    )
    assert np.diff(bounds).tolist() == [1, 2, 1, 1, 0, 0]
    assert shingles[0] == shingles[1] and shingles[3] == shingles[4] and shingles[3] != shingles[0]


def test_a_short_text_is_not_the_beginning_of_a_longer_one() -> None:
    shingles, _bounds = shingle_texts(FuzzySettings(), column("a", "a a", "a a a", "a a a a", "a a a a a"))
    assert len(set(shingles.tolist())) == 5


def test_every_han_character_is_a_word_for_shingles() -> None:
    _shingles, bounds = shingle_texts(FuzzySettings(), column("今日は天気が良い"))
    assert np.diff(bounds).tolist() == [4]


def test_one_character_more_than_the_cap_is_cut_at_a_character() -> None:
    text = "é" * 10 + " b"
    cut, whole = (shingle_texts(FuzzySettings(max_characters=most), column(text))[0] for most in (10, 12))
    assert cut.tolist() == shingle_texts(FuzzySettings(), column("é" * 10))[0].tolist() != whole.tolist()


def test_a_hundred_megabytes_of_text_are_shingled_up_to_the_cap() -> None:
    shingles, _bounds = shingle_texts(FuzzySettings(), column("word " * 20_000_000))
    assert len(shingles) == 100_000 - 4
