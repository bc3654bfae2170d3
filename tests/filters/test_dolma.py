"""Gopher's rules as Dolma counts them: equal to the reference, and decided on either side of each bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.filters.block import Batch
from gristmill.filters.presets import PRESETS
from gristmill.filters.published.dolma import DOLMA_SIGNALS, dolma_reference, measure_dolma
from tests.filters.test_blocks import removed_by
from tests.filters.test_kernels import FRAGMENTS
from tests.support.filter_documents import documents

PIECES = st.lists(
    st.sampled_from((*FRAGMENTS, "the the the", "* and", "- of", "#tag", "end…", "\n", "\n\n", "a"))
)
TEXTS = st.lists(st.one_of(st.text(), PIECES.map(" ".join), PIECES.map("".join)), max_size=5)


def measured(texts: list[str], *, blank_lines: bool) -> list[dict[str, float]]:
    found = measure_dolma(Batch(documents(texts)), {"blank_lines": blank_lines}).signals
    assert set(found) == set(DOLMA_SIGNALS)
    columns = {name: np.asarray(found[name]).tolist() for name in DOLMA_SIGNALS}
    return [{name: columns[name][row] for name in DOLMA_SIGNALS} for row in range(len(texts))]


def references(texts: list[str], *, blank_lines: bool) -> list[dict[str, float]]:
    found = [dolma_reference(text, blank_lines=blank_lines) for text in texts]
    return [{name: one[name] for name in DOLMA_SIGNALS} for one in found]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.booleans())
def test_dolmas_signals_are_those_of_the_reference(texts: list[str], blank_lines: bool) -> None:
    assert measured(texts, blank_lines=blank_lines) == references(texts, blank_lines=blank_lines)


def test_dolmas_signals_are_those_of_the_reference_on_real_pages(real_texts: list[str]) -> None:
    texts = real_texts[:60]
    assert measured(texts, blank_lines=False) == references(texts, blank_lines=False)


def test_every_occurrence_of_a_line_or_ngram_counts() -> None:
    found = dolma_reference("a b\na b\nc d")
    assert (found["lines"], found["duplicate_lines"], found["duplicate_line_chars"]) == (3, 2, 6)
    found = dolma_reference("a b c d e f a b c d e")  # seven 5-grams, the first and last the same
    assert (found["duplicate_5gram_chars"], found["5gram_chars"]) == (10, 35)
    assert dolma_reference("of all bigrams the longest is none")["most_common_2gram_chars"] == len("ofall")


def test_blank_lines_are_skipped_as_by_the_second_version_or_counted_as_by_the_first() -> None:
    distinct = iter(words(300).split())
    text = "\n\n".join(" ".join(next(distinct) for _ in range(10)) for _ in range(30))
    name = "dolma-gopher.fraction_of_duplicate_lines"
    assert removed_by(documents([text]), presets=["dolma-gopher"]) == [None]
    counted = {"dolma-gopher.blank_lines": True}
    assert removed_by(documents([text]), presets=["dolma-gopher"], set=counted) == [name]


def words(number: int, *others: str) -> str:
    """A text of so many different words, the two that are required among them."""
    return " ".join([*others, "the", "of", *(f"word{at}" for at in range(number - 2 - len(others)))])


LINES = [f"the line {number} of so many others" for number in range(20)]


@pytest.mark.parametrize(
    ("rule", "kept", "removed"),
    [
        ("word_count", words(50), words(49)),
        ("median_word_length", "the of and " * 20 + words(40), words(40) + " a b" * 25),
        ("symbol_to_word_ratio", words(60, *("#a#",) * 6), words(60, *("a…",) * 7)),
        ("fraction_of_words_with_alpha_character", words(60, *"0123456789=+"), words(60, *"0123456789=+-")),
        ("required_word_count", words(60), words(60).replace("the", "The")),
        (
            "fraction_of_lines_starting_with_bullet_point",
            "\n".join(["- " + line for line in LINES[:18]] + LINES[18:]),
            "\n".join(["* " + line for line in LINES[:19]] + LINES[19:]),
        ),
        (
            "fraction_of_lines_ending_with_ellipsis",
            "\n".join([line + " …" for line in LINES[:6]] + [line + "..." for line in LINES[6:]]),
            "\n".join([line + " …" for line in LINES[:7]] + LINES[7:]),
        ),
        (
            "fraction_of_duplicate_lines",
            "\n".join([*("ab",) * 6, *(f"{line} {words(60)}{line[9:11]}" for line in LINES[:14])]),
            "\n".join([*("ab",) * 7, *(f"{line} {words(60)}{line[9:11]}" for line in LINES[:13])]),
        ),
    ],
)  # fmt: skip
def test_each_rule_decides_on_either_side_of_its_bound(rule: str, kept: str, removed: str) -> None:
    name = f"dolma-gopher.{rule}"
    others = [rule.name for rule in PRESETS["dolma-gopher"].rules if rule.name != name]
    found = removed_by(documents([kept, removed]), presets=["dolma-gopher"], set=dict.fromkeys(others, "off"))
    assert found == [None, name]


@pytest.mark.parametrize("n", range(2, 11))
def test_an_ngram_that_takes_too_many_characters_removes(n: int) -> None:
    part = "most_common" if n < 5 else "duplicate"
    name = f"dolma-gopher.fraction_of_characters_in_{part}_{n}grams"
    others = [rule.name for rule in PRESETS["dolma-gopher"].rules if rule.name != name]
    phrase = " ".join(f"p{at}" for at in range(n))
    texts = [f"{phrase} {words(400)} {phrase}", " ".join(f"{phrase} {phrase} x{at}" for at in range(30))]
    found = removed_by(documents(texts), presets=["dolma-gopher"], set=dict.fromkeys(others, "off"))
    assert found == [None, name]
