"""Presets of published corpora: each measures what its reference says, and decides on either side of its
bounds."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.errors import InputError, UsageError
from gristmill.filters.block import Batch
from gristmill.filters.passes import compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.published.lengths import letters
from gristmill.filters.published.madlad import madlad_reference, sentences_of
from gristmill.filters.published.redpajama import RPS_SIGNALS, measure_redpajama, rps_reference
from gristmill.filters.published.source_code import code_reference, num_tokens
from gristmill.filters.recut import recut_filters
from gristmill.filters.settings import FilterSettings
from tests.filters.test_blocks import removed_by, write
from tests.filters.test_kernels import FRAGMENTS
from tests.support.filter_documents import documents
from tests.support.recipe_inputs import small_model

MADLAD = dict(PRESETS["madlad"].parameters)
PIECES = st.lists(
    st.sampled_from((*FRAGMENTS, "the the", "Lorem ipsum", "{x}", "JavaScript javascript", "٣", "ABC"))
)
TEXTS = st.lists(st.one_of(st.text(), PIECES.map(" ".join), PIECES.map("".join)), max_size=5)


def by_kernel(texts: list[str]) -> dict[str, list[float]]:
    found = measure_redpajama(Batch(documents(texts)), {"stop_words": None}).signals
    return {name: np.asarray(found[name]).tolist() for name in RPS_SIGNALS}


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_redpajamas_signals_are_those_of_the_reference(texts: list[str]) -> None:
    found = by_kernel(texts)
    for row, text in enumerate(texts):
        assert {name: found[name][row] for name in RPS_SIGNALS} == rps_reference(text)


def test_redpajamas_signals_are_those_of_the_reference_on_real_pages(real_texts: list[str]) -> None:
    texts = real_texts[:60]
    found = by_kernel(texts)
    for row, text in enumerate(texts):
        assert {name: found[name][row] for name in RPS_SIGNALS} == rps_reference(text)


def test_redpajamas_signals_remove_nothing_until_they_are_bounded() -> None:
    table = documents(["", "one two three", "Shouting WORDS " * 30])
    assert removed_by(table, presets=["redpajama-v2"]) == [None] * 3
    name = "redpajama-v2.rps_doc_frac_all_caps_words"
    assert removed_by(table, presets=["redpajama-v2"], set={f"{name}.max": 0.4}) == [None, None, name]


def test_the_entropy_of_words_is_that_of_their_distribution() -> None:
    assert rps_reference("a a b b")["entropy"] == pytest.approx(math.log(2))
    assert rps_reference("")["entropy"] == 0


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        (" ".join(["Title"] * 7 + ["word"] * 5), "list_case"),  # 7 of 12 words in capitals
        ("Too short.", "abnormal_length"),
        ("word " * 101, "abnormal_length"),
        ("12345 (67890) + abcdefgh ijkl", "technical"),
    ],
)
def test_a_sentence_is_questionable_of_its_kind(sentence: str, kind: str) -> None:
    assert madlad_reference(sentence, MADLAD)[f"{kind}_sentences"] == 1
    assert madlad_reference("This is a sentence of the usual kind, as a page has many", MADLAD) == {
        **dict.fromkeys(madlad_reference("", MADLAD), 0),
        "sentences": 1,
    }


def test_half_of_the_words_in_capitals_is_no_list() -> None:
    assert not madlad_reference(" ".join(["Title"] * 6 + ["word"] * 6), MADLAD)["list_case_sentences"]


def test_a_fifth_of_questionable_sentences_removes_and_so_do_four_sentences(tmp_path: Path) -> None:
    plain, cursed = "This is a sentence of the usual kind. ", "It goes on aute irure dolor as ever. "
    cursed_list = tmp_path / "cursed.txt.gz"
    cursed_list.write_bytes(gzip.compress(b"aute irure dolor \n nr\\.\n\\|\\s*$\n"))
    table = documents([plain * 5, plain * 4, plain * 4 + cursed, plain * 5 + cursed])
    found = removed_by(table, presets=["madlad"], set={"madlad.cursed": str(cursed_list)})
    assert found == [None, "madlad.sentences", "madlad.questionable_fraction", None]
    assert removed_by(table, presets=["madlad"]) == [None, "madlad.sentences", None, None]


def test_a_cursed_list_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match="cannot read the list of cursed strings"):
        removed_by(documents(["x"]), presets=["madlad"], set={"madlad.cursed": str(tmp_path / "bad.gz")})


@given(st.text())
def test_sentences_hold_all_but_end_marks_and_blanks(text: str) -> None:
    kept = "".join("".join(sentences_of(text)).split())
    assert set(kept) <= set(text) and all(sentence.strip() for sentence in sentences_of(text))


def test_slimpajama_composes_texts_and_removes_those_under_200_letters() -> None:
    decomposed = "e\u0301" * 200
    table = documents([decomposed, "a" * 199 + " .,;-\n\t" * 50, "a" * 200])
    outcome = compile_filters(FilterSettings(presets=("slimpajama",)), 1).apply(table)
    assert outcome.kept["text"].to_pylist() == ["é" * 200, "a" * 200]
    assert outcome.removed["rule"].to_pylist() == ["slimpajama.characters"]
    assert letters(decomposed) == 200


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a_b = c-1;", 6),
        ("x² ½", 3),  # numbers that are no digits are of no word to the package `regex`
        ("नमस्ते", 1),  # marks are
        ("a\u200db ⓐⓑ", 2),  # joiners and circled letters, too
        ("a\x1cb", 3),  # a separator is no white space to it
        ("東京 tower", 2),
    ],
)
def test_tokens_of_code_are_those_of_dolmas_splitter(text: str, tokens: int) -> None:
    assert num_tokens(text) == tokens + 1  # it counts what lies between


def test_length_measures_and_removes_by_a_recipes_own_bounds() -> None:
    table = documents(["x" * 299, "x" * 300])
    assert removed_by(table, presets=["length"]) == [None, None]
    bounded = {"length.characters.min": 300}  # CCNet, process_wet_file: min_len
    assert removed_by(table, presets=["length"], set=bounded) == ["length.characters", None]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("def measure(length):\n    return length + 1\n", None),
        ("x" * 1001, "code.longest_line"),
        (("word " * 20 + "longer\n") * 3, "code.mean_line_length"),
        ("{}();" * 10 + "\nabc", "code.alphanumeric_fraction"),
        ("1 2 3 4 5 6 7 8 9\n" * 3 + "a", "code.letters_per_token"),
    ],
)
def test_code_is_removed_by_redpajamas_rules(text: str, rule: str | None) -> None:
    assert removed_by(documents([text]), presets=["code"]) == [rule]


def test_a_copyright_notice_is_the_first_comment_that_names_one_or_the_lines_it_begins_with() -> None:
    notice = "/* Copyright (c) A. Author */"
    assert code_reference(f"x = 1\n{notice}\n")["copyright_chars"] == len(notice)
    assert code_reference("/* plain */ x")["copyright_chars"] == 0
    assert code_reference("# one\n\n# two\nx")["copyright_chars"] == 5 + 1 + 5
    assert code_reference('<?xml version="1.0"?>')["xml_declarations"] == 1


GERMAN = "Der Hund und die Katze sind im Garten von Frau Maier. " * 12


def test_bounds_and_stop_words_hold_by_language(tmp_path: Path) -> None:
    """FineWeb-2's German thresholds for German, the preset's own for the rest."""
    path = tmp_path / "deu_Latn.yml"
    path.write_text(
        "dup_line_frac: 0.0\nmax_avg_word_length: 3.5\nstopwords: [der, und]\ntop_n_grams: [[2, 0.9]]\n"
    )
    section: dict[str, Any] = {
        "presets": ["gopher"],
        "set": {"gopher.languages": None, "gopher.stop_words": "off"},
        "by_language": {"de": str(path), "fr": {"gopher.words.min": 1000}},
        "stop_words": {},
    }
    table = documents([GERMAN, GERMAN, GERMAN, "Rad Hut " * 40])
    languages = pa.array(["de", "en", "fr", "de"], table.schema.field("language").type)
    place = table.schema.get_field_index("language")
    table = table.set_column(place, table.schema.field(place), languages)
    found = removed_by(table, **section)
    assert found == ["gopher.mean_word_length", None, "gopher.words", "stop-words.distinct"]


def test_a_bound_by_language_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"changes `fineweb.text_lines.min`, which no filter set here has"):
        FilterSettings(presets=("gopher",), by_language={"de": {"fineweb.text_lines.min": 1}})
    with pytest.raises(UsageError, match=r"changes `gopher.wrds.min`; there are gopher.words"):
        removed_by(documents(["x"]), presets=["gopher"], by_language={"de": {"gopher.wrds.min": 1}})
    with pytest.raises(InputError, match="no set of thresholds"):
        removed_by(documents(["x"]), presets=["gopher"], by_language={"de": write(tmp_path / "x.yml", "- 1")})


def test_recut_refuses_bounds_by_language_where_none_were_before() -> None:
    before = FilterSettings(presets=("gopher",))
    after = FilterSettings(presets=("gopher",), by_language={"de": {"gopher.words.min": 10}})
    with pytest.raises(UsageError, match="recut"):
        recut_filters(before, after, 1)


def test_txt360_drops_notices_to_switch_javascript_on_and_keeps_other_lines_that_name_it() -> None:
    lines = [
        "Please enable JavaScript in your browser to go on.",
        "JavaScript is a language of the web.",
        "3 likes",
    ]
    outcome = compile_filters(FilterSettings(presets=("txt360-lines",)), 1).apply(
        documents(["\n".join(lines)])
    )
    assert outcome.kept["text"].to_pylist() == [lines[1] + "\n"]
    assert outcome.counts["deleted_bytes_by_rule"] == {
        "txt360-lines.javascript": len(lines[0]) + 1,
        "txt360-lines.counter": len(lines[2]),
    }


@pytest.fixture(scope="module")
def toxic(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("toxic") / "jigsaw-hatespeech.bin"
    path.write_bytes(small_model("jigsaw-hatespeech"))
    return str(path)


def test_sentences_that_a_model_finds_toxic_are_cut_and_the_rest_stays(toxic: str) -> None:
    """Dolma 1.5: what its Jigsaw models score 0.4 and more is cut, sentence by sentence."""
    good, bad = "Der die und das ist nicht ein mit von auf. ", "The of and to in that it with was for. "
    model = {"name": "hatespeech", "path": toxic, "label": "toxic", "unit": "sentence", "below": 0.4}
    table = documents([good + bad + good, good * 2, ""])
    outcome = compile_filters(FilterSettings.model_validate({"models": [model]}), 1).apply(table)
    assert outcome.kept["text"].to_pylist() == [good + good, good * 2, ""]
    assert outcome.counts["deleted_bytes_by_rule"] == {"hatespeech.sentence": len(bad)}
    assert outcome.signals["v0.hatespeech.cut_sentences"].to_pylist() == [1, 0, 0]
