"""Kernels measure what the reference says, on arbitrary text and on real pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.filters import reference
from gristmill.filters.apply import apply_edits
from gristmill.filters.block import Batch
from gristmill.filters.presets import PRESETS
from gristmill.filters.published.c4 import measure_c4
from gristmill.filters.published.constants import STOP_WORDS
from gristmill.filters.published.quality import measure_fineweb, measure_gopher, measure_mc4
from gristmill.filters.published.repetition import measure_repetition
from tests.support.filter_documents import documents

TEXT_TESTS = Path(__file__).parents[1] / "text"
FRAGMENTS = (
    *(
        "\n",
        "\n\n",
        "\n\n\n",
        " \n",
        "\r\n",
        "\x0b",
        "\x85",
        "\u2028",
        " ",
        "  ",
        "\t",
        "\u3000",
        "...",
        "…",
        ".",
        '"',
        "!",
        "?",
    ),
    *(
        "#",
        "- item",
        "• item",
        "the",
        "of",
        "And",
        "with",
        "日本。",
        "ไทย",
        "é",
        "İ",
        "ẞ",
        "word",
        "two words",
        "a b c d e.",
    ),
    *(
        "[1]",
        "[",
        "]",
        "[edit]",
        "[citation needed]",
        "[٣]",
        "[12",
        "{",
        "}",
        "javascript",
        "JavaScript",
        "java[2]script",
    ),
    *(
        "lorem ipsum",
        "Lorem Ipsum",
        "privacy policy",
        "Terms of Use",
        "use coo\u212aies",
        "uses cookies",
        "x" * 1001,
        "x" * 1000,
    ),
    *(
        "Is this one line of words? ",
        "She said so [3] twice.",
        "A sentence of five words.",
        "Five more words are here.\n",
    ),
)


def texts() -> st.SearchStrategy[str]:
    character = st.characters(exclude_categories=["Cs", "Cn", "Co"], max_codepoint=0x2FFF)
    padding = st.builds(
        str.__mul__, st.sampled_from("a é"), st.integers(0, 70)
    )  # kernels read 64 bytes at a time
    return st.lists(st.one_of(st.sampled_from(FRAGMENTS), character, padding), max_size=40).map("".join)


def compare(values: list[str]) -> None:
    batch = Batch(documents(values))
    for measure, expected in (
        (measure_gopher, reference.gopher),
        (measure_repetition, reference.repetition),
        (measure_fineweb, reference.fineweb),
        (measure_mc4, reference.mc4_paragraphs),
    ):
        signals = measure(batch, {"short_line_chars": 30}).signals
        for row, text in enumerate(values):
            assert {name: int(column[row]) for name, column in signals.items()} == expected(text), repr(text)
    for preset in ("c4-code", "c4-fineweb"):
        compare_c4(batch, values, preset)


def compare_c4(batch: Batch, values: list[str], preset: str) -> None:
    parameters = {**PRESETS[preset].parameters, "page_chars_bound": True}
    wording = reference.C4Settings(
        parameters["min_words_per_line"], parameters["max_word_chars"], parameters["end_mark"]
    )
    measured = measure_c4(batch, parameters)
    assert measured.edits is not None
    offsets, data = apply_edits(batch.starts, batch.stops, batch.data, measured.edits)
    for row, text in enumerate(values):
        signals, cleaned = reference.c4(text, wording)
        assert {name: int(column[row]) for name, column in measured.signals.items()} == signals, repr(text)
        assert data[offsets[row] : offsets[row + 1]].tobytes().decode() == cleaned, repr(text)


@settings(max_examples=250, deadline=None)
@given(st.lists(texts(), min_size=1, max_size=3))
def test_kernels_measure_what_the_reference_says(values: list[str]) -> None:
    compare(values)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.lists(texts(), min_size=1, max_size=3))
def test_kernels_measure_what_the_reference_says_ten_thousand_times(values: list[str]) -> None:
    compare(values)


def test_kernels_measure_what_the_reference_says_of_real_pages(real_texts: list[str]) -> None:
    compare(real_texts[::40])


@pytest.mark.slow
def test_kernels_measure_what_the_reference_says_of_all_real_pages(real_texts: list[str]) -> None:
    compare(real_texts)


def test_a_text_without_characters_measures_zero() -> None:
    compare(["", " ", "\n", "\n\n", " \n "])


def test_white_space_around_citations_is_any_amount() -> None:
    """At a page's ends, where it goes once the citations are gone: more of it than the page has lines and
    brackets."""
    said = "This is a line of more than five words, and it ends well."
    compare([f"[1]{' ' * 500}{said} {said} {said}{' ' * 500}[2]\u3000{' ' * 300}[3]{' ' * 400}."])
    compare(
        [f"{' ' * 70}[1]{' ' * 200}[2]{' ' * 200}{said}\n{said}\n[4]{' ' * 90}{said}[5]{' ' * 200}[edit]"]
    )


@pytest.mark.slow
def test_no_kernel_reaches_beyond_its_arrays(tmp_path: Path) -> None:
    """The same tests with every index checked, which only a compilation of its own can do."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, str(TEXT_TESTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def test_every_stop_word_counts_in_any_case_and_no_longer_word_does() -> None:
    words = [*STOP_WORDS, *(word.title() for word in STOP_WORDS), "(The)", "of'"]
    others = ["then", "be.be", "tbe", "\u00fee", "with\0the", "the\0\0a", "be\0\0\0x"]
    found = measure_gopher(Batch(documents(words + others)), {}).signals["stop_words"].tolist()
    assert found == [1] * len(words) + [0] * len(others)
