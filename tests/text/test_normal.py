"""Texts are made equal only where they are equal, in time linear in their length."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.below.split import _paragraph_key
from gristmill.dedup.exact import normalise_text
from gristmill.text import normal
from gristmill.text.normal import normal_form

# Pairs of words that differ in marks alone, which are letters (or vowels) in their script.
DIFFERENT = {
    "Devanagari": ("कल", "काल"),
    "Devanagari, no vowel": ("सत", "सत्"),
    "Thai": ("ดิน", "ดน"),
    "Thai tones": ("ไม้", "ไม่"),
    "Burmese": ("မာ", "မား"),
    "Khmer": ("កូន", "កន"),
    "Hebrew": ("סֵפֶר", "סָפַר"),
    "Arabic": ("عَلِمَ", "عُلِمَ"),
    "Japanese": ("はし", "ばし"),
    "Japanese half": ("かき", "かぎ"),
    "Tamil": ("கல்", "கலை"),
    "Bengali": ("দন", "দিন"),
    "Tibetan": ("བད", "བོད"),
}


@pytest.mark.parametrize("script", DIFFERENT)
def test_words_that_differ_in_their_script_s_marks_stay_different(script: str) -> None:
    first, second = DIFFERENT[script]
    assert normalise_text(first, "letters") != normalise_text(second, "letters")
    assert _paragraph_key(first) != _paragraph_key(second)


def test_composed_and_decomposed_forms_are_equal_and_western_accents_go_from_paragraphs_only() -> None:
    for word in ("café", "Ångström", "ὁδός", "ёлка", "がっこう", "سُؤَال"):
        both = [unicodedata.normalize(form, word) for form in ("NFC", "NFD")]
        assert len({normalise_text(form, "letters") for form in both}) == 1
        assert len({_paragraph_key(form) for form in both}) == 1
    assert _paragraph_key("Café ὁδός ёлка") == _paragraph_key("cafe οδος елка")
    assert normalise_text("café", "letters") != normalise_text("cafe", "letters")


def test_signs_around_symbols_are_no_letters() -> None:
    assert normalise_text("I ❤\ufe0f you 1\ufe0f\u20e3", "letters") == "i you 1"


@given(st.text(st.sampled_from("aé\u0301\u0316\u0344\u0f71\u0f72\u3099か각\u0f73\u0345"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_the_linear_form_is_unicode_s(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert normal_form(text, form) == unicodedata.normalize(form, text)  # type: ignore[arg-type]


ADVERSARIES = {
    "alternating": "\u0301\u0316",
    "descending": "\u0345\u0315\u0301\u0316\u0327\u0338",
    "decomposing": "\u0344\u0316",
    "Tibetan": "\u0f71\u0f72\u0f74",
    "symbols": "\u0301\u20e8\u0316\u20d0",
    "rare": "\u0301\u0316\U00010f4c",
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_marks_without_end_cost_linear_time(name: str) -> None:
    seconds = []
    for length in (20_000, 80_000):
        text = "a" + ADVERSARIES[name] * length
        began = time.process_time()
        normalise_text(text, "letters")
        _paragraph_key(text)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 10 * seconds[0] + 0.2, seconds


@pytest.mark.parametrize("before", [0, 1, 40])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 40])
def test_a_long_run_of_marks_is_seen_wherever_it_lies(before: int, length: int) -> None:
    run = "a" * before + "\u0301" * length
    broken = "a" * before + ("\u0301" * 15 + "b") * 3
    for behind in ("", "b", "\u4e2d" * 20):
        assert normal._has_long_run(run + behind) == (length >= 16)
        assert not normal._has_long_run(broken + behind)
        assert bool(normal._long_runs().search(run + behind)) == (length >= 16)
