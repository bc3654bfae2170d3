"""The word pass: kernel and reference agree on arbitrary Unicode, slices, nulls and real pages."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.text import reference, tables
from gristmill.text.cores import cores_of
from gristmill.text.words import ENDS_SENTENCE, GLUED, HAS_LETTER, Words, scan, spans, text_spans, words_of

# What makes word passes go wrong, more often than chance would bring it: odd spaces, line ends, marks,
# scripts, length changes.
TRICKY = (
    " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2028\u2029\u3000.?!…。"
    "！\"'”)]»-•#İIıẞßΣςÅK\u0301\u200b\ufeff日本ไทยລາວខ្មែរабв12"
)


def texts() -> st.SearchStrategy[str]:
    known = st.characters(exclude_categories=["Cs"]).filter(agrees)
    text = st.text(st.one_of(st.sampled_from(TRICKY), st.sampled_from("ab .\n"), known), max_size=60)
    # The kernel reads 64 bytes at a time: padding moves what is tricky onto the border, and makes runs longer
    # than that.
    padding = st.builds(
        str.__mul__, st.sampled_from(["a", " ", "ab. ", "é", "\u2028", "日"]), st.integers(0, 70)
    )
    return st.builds("".join, st.tuples(padding, text, padding, text))


def agrees(char: str) -> bool:
    """Whether this Python knows the character as the pinned Unicode version does."""
    return unicodedata.unidata_version == tables.UNICODE_VERSION or bool(
        tables.CLASS_PAGES[int(tables.CLASS_INDEX[ord(char) >> 8]) * 256 + (ord(char) & 255)]
        == tables.point_class(ord(char))
    )


def check(texts: list[str | None], words: Words, base: np.ndarray) -> None:
    for number, text in enumerate(texts):
        expected = reference.words(text or "")
        own = slice(words.rows[number], words.rows[number + 1])
        start = int(base[number])
        got = list(zip(*(column[own].tolist() for column in words[:-1]), strict=True))
        assert len(got) == len(expected), text
        for row, word in zip(got, expected, strict=True):
            has_letter = any(char.isalpha() for char in word.text)
            flags = HAS_LETTER * has_letter | GLUED * word.glued | ENDS_SENTENCE * word.ends_sentence
            spans_ = tuple(start + offset for offset in (word.start, word.end))
            core = tuple(start + offset for offset in (word.core_start, word.core_end))
            hashes = (word.hash_exact, word.hash_folded)
            assert row == (
                *spans_,
                *core,
                *hashes,
                word.line,
                word.sentence,
                len(word.text),
                len(word.core),
                flags,
            ), (text, word)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.none(), texts()), max_size=4))
def test_kernel_and_reference_agree_on_arbitrary_text(values: list[str | None]) -> None:
    array = pa.array(values, pa.large_string())
    check(values, words_of(array), text_spans(array)[0])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.none(), texts()), max_size=4))
def test_hashes_alone_are_those_of_the_words_that_have_a_core(values: list[str | None]) -> None:
    hashes, rows = cores_of(pa.array(["x y", *values, None], pa.large_string())[1:])
    for number, text in enumerate([*values, None]):
        expected = [word.hash_folded for word in reference.words(text or "") if word.core]
        assert hashes[rows[number] : rows[number + 1]].tolist() == expected, text


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.lists(st.one_of(st.none(), texts()), max_size=4))
def test_kernel_and_reference_agree_on_ten_thousand_examples(values: list[str | None]) -> None:
    array = pa.array(values, pa.large_string())
    check(values, words_of(array), text_spans(array)[0])


@pytest.mark.skipif(
    unicodedata.unidata_version != tables.UNICODE_VERSION, reason="another Unicode version than the tables'"
)
def test_tables_say_what_unicodedata_says_of_every_code_point() -> None:
    points = np.arange(0x110000)
    classes = tables.CLASS_PAGES[tables.CLASS_INDEX[points >> 8].astype(int) * 256 + (points & 255)]
    lower = points + tables.LOWER_PAGES[tables.LOWER_INDEX[points >> 8].astype(int) * 256 + (points & 255)]
    assert classes.tolist() == [tables.point_class(point) for point in points.tolist()]
    assert lower.tolist() == [ord(chr(point).lower()[0]) for point in points.tolist()]


def test_words_of_a_slice_are_those_of_its_texts() -> None:
    array = pa.array(["zero one", "two", None, "", "three four."], pa.large_string()).slice(1, 4)
    check(["two", None, "", "three four."], words_of(array), text_spans(array)[0])


def test_bytes_under_a_null_are_not_read() -> None:
    offsets = pa.py_buffer(np.array([0, 3, 6], np.int64))
    array = pa.Array.from_buffers(
        pa.large_string(), 2, [pa.py_buffer(b"\x02"), offsets, pa.py_buffer(b"abcdef")]
    )
    assert words_of(array).rows.tolist() == [0, 0, 1]


def test_bytes_that_are_not_utf8_do_not_crash_the_kernel() -> None:
    random = np.random.default_rng(1)
    for size in range(64):
        data = random.integers(0, 256, size, np.uint8)
        words = scan(np.array([0]), np.array([size]), data)
        assert (words.end <= size).all() and (words.start < words.end).all()


def test_each_han_character_is_a_word_and_punctuation_has_no_core() -> None:
    words = spans(np.array([0, len("日本x。 -".encode())]), np.frombuffer("日本x。 -".encode(), np.uint8))
    assert (words.core_end > words.core_start).tolist() == [True, True, True, False]
    assert (words.flags & GLUED).astype(bool).tolist() == [False, True, True, False]


def test_a_sentence_ends_at_a_mark_with_its_closing_quote() -> None:
    assert words_of(pa.array(['He said "go." She went. 3.5 is\none line'])).sentence.tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


def test_kernel_and_reference_agree_on_real_pages(shared_data) -> None:  # type: ignore[no-untyped-def]
    import gzip
    import json

    with gzip.open(shared_data / "realweb" / "gold.jsonl.gz", "rt") as file:
        values = [
            text for _, line in zip(range(150), file, strict=False) if (text := json.loads(line)["gold_text"])
        ]
    array = pa.array([text.encode("utf-8", "replace").decode()[:3000] for text in values], pa.large_string())
    check(array.to_pylist(), words_of(array), text_spans(array)[0])
