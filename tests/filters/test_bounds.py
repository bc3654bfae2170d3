"""Each published rule: the smallest text on either side of its bound."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gristmill.errors import InputError
from gristmill.filters.order import digests_of
from gristmill.filters.passes import compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.rules import Bound
from gristmill.filters.settings import FilterSettings
from tests.support.filter_documents import documents


def failed_rules(preset: str, text: str, **changes: object) -> list[str]:
    overrides = {f"{preset}.languages": None, **{f"{preset}.{key}": value for key, value in changes.items()}}
    outcome = compile_filters(FilterSettings(presets=(preset,), set=overrides), seed=1).apply(
        documents([text])
    )
    return outcome.removed.column("rules").to_pylist()[0] if outcome.removed.num_rows else []


def distinct(count: int, size: int = 5) -> str:
    """So many different words of so many letters each."""
    words = []
    for number in range(count):
        word = ""
        for _ in range(size):
            number, digit = divmod(number, 26)
            word = chr(ord("a") + digit) + word
        words.append(word)
    return " ".join(words)


def repeated(n: int, chars: int) -> str:
    """A text of so many characters in which one n-gram of single letters occurs twice."""
    ngram = " ".join("abcdefghij"[:n])
    both = f"{ngram} Z {ngram} "
    return both + "y" * (chars - len(both))


def twice(n: int, ngrams: int) -> str:
    """A text with so many n-grams, all of single letters, of which two are the same."""
    ngram = list("abcdefghij"[:n])
    return " ".join([*ngram, "Z", *ngram, *"ABCDEFGHIJKLMNOP"[: ngrams - n - 2]])


def lines(*counts: tuple[str, int]) -> str:
    return "\n".join(line for line, count in counts for _ in range(count))


FIVE = "One two three four five."
CASES = {
    "gopher.words": (distinct(50), distinct(49)),
    "gopher.mean_word_length": (distinct(60, 3), "ab " + distinct(59, 3)),
    "gopher.hash_fraction": (distinct(9) + " #x", distinct(8) + " #x"),
    "gopher.ellipsis_fraction": (distinct(9) + " x...", distinct(8) + " x…"),
    "gopher.bullet_lines_fraction": (lines(("- a", 9), ("a", 1)), lines(("• a", 10), ("a", 1))),
    "gopher.ellipsis_lines_fraction": (lines(("a...", 3), ("a", 7)), lines(("a…", 4), ("a", 9))),
    "gopher.letter_words_fraction": ("a b c d 5", "a b c 5"),
    "gopher.stop_words": ("The and", "the The"),
    "gopher-repetition.characters": ("a", ""),
    "gopher-repetition.duplicate_lines_fraction": ("\n".join("0123456000"), "\n".join("012345000")),
    "gopher-repetition.duplicate_paragraphs_fraction": ("\n\n".join("0123456000"), "\n\n".join("012345000")),
    "gopher-repetition.duplicate_line_chars_fraction": ("aa\naa\nbbbb", "aa\naa\nbbb"),
    "gopher-repetition.duplicate_paragraph_chars_fraction": ("aaa\n\naaa\n\nbbbbb", "aaa\n\naaa\n\nbbbb"),
    "gopher-repetition.top_2gram_fraction": ("a b " + "x" * 11, "a b " + "x" * 10),
    "gopher-repetition.top_3gram_fraction": ("a b c " + "x" * 22, "a b c " + "x" * 21),
    "gopher-repetition.top_4gram_fraction": ("a b c d " + "x" * 36, "a b c d " + "x" * 35),
    **{
        f"gopher-repetition.duplicate_{n}gram_fraction": (
            repeated(n, math.ceil(n / bound)),
            repeated(n, math.ceil(n / bound) - 1),
        )
        for n, bound in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    },
    "fineweb.text_lines": ("a.", " \n"),
    "fineweb.end_mark_lines_fraction": (lines(("a.", 3), ("b", 22)), lines(("a.", 2), ("b", 15))),
    "fineweb.short_lines_fraction": (
        lines(("a" * 30, 2), ("b" * 31, 1)),
        lines(("a" * 30, 3), ("b" * 31, 1)),
    ),
    "fineweb.duplicate_line_chars_fraction": ("a\na\n" + "b" * 98, "a\na\n" + "b" * 97),
    "fineweb.newlines_per_word": ("a\nb\nc\nd e f g h i j", "a\nb\nc\nd e f g h i"),
    "fineweb-paper.text_lines": ("a.", " \n"),
    "fineweb-paper.end_mark_lines_fraction": (lines(("a.", 1), ("b", 7)), lines(("a.", 3), ("b", 22))),
    "fineweb-paper.short_lines_fraction": (
        lines(("a" * 30, 2), ("b" * 31, 1)),
        lines(("a" * 30, 67), ("b" * 31, 33)),
    ),
    "fineweb-paper.duplicate_line_chars_fraction": ("a\na\n" + "b" * 9, "a\na\n" + "b" * 8),
    "fineweb-paper.newlines_per_word": ("a\nb\nc\nd e f g h i j", "a\nb\nc\nd e f g h i"),
    "c4-code.page_chars": (FIVE + "x" * (190_000 - len(FIVE)), FIVE + "x" * (190_001 - len(FIVE))),
    "c4-code.lorem_ipsum": ("Lorem ipsum is here without mark", "The text lorem IPSUM is here."),
    "c4-code.curly_brackets": ("function { is on a dropped line", "A { is on a line that stays."),
    "c4-code.sentences": (lines((FIVE, 3)), lines((FIVE, 2))),
    "c4-paper.lorem_ipsum": ("lorem ipsum", "lorem ipsum here."),
    "c4-paper.curly_brackets": ("{ two.", "{ and two."),
    "c4-paper.sentences": (lines(("One two three.", 5)), lines(("One two three.", 4))),
    "c4-fineweb.lorem_ipsum": ("lorem ipsum", "lorem ipsum here"),
    "c4-fineweb.curly_brackets": ("{ two", "{ and two"),
    "c4-fineweb.sentences": (lines(("One two three", 5)), lines(("One two three", 4))),
    "mc4-paragraphs.lines": ("a\nb\nc", "a\nb"),
    "mc4-paragraphs.third_line_chars": (lines(("a" * 200, 3)), lines(("a" * 200, 2), ("b" * 199, 1))),
    "madlad.sentences": ("It is so. " * 5, "It is so. " * 4),
    "madlad.questionable_fraction": ("It is so. " * 5 + "Title " * 12, "It is so. " * 4 + "Title " * 12),
    "slimpajama.characters": ("a " * 200, "a " * 199),
    "code.longest_line": ("a" * 1000, "a" * 1001),
    "code.mean_line_length": ("a" * 100, "a" * 101),
    "code.alphanumeric_fraction": ("a***", "a****"),
    "code.letters_per_token": ("abc", "ab"),  # one token more than there are, as dolma counts
    "dolma-gopher.word_count": (distinct(50), distinct(49)),
    "dolma-gopher.median_word_length": ("abc def", "ab cd"),
    "dolma-gopher.symbol_to_word_ratio": (distinct(9) + " #x", distinct(8) + " #x"),
    "dolma-gopher.fraction_of_words_with_alpha_character": ("a b c d 5", "a b c 5"),
    "dolma-gopher.required_word_count": ("the and", "the The"),
    "dolma-gopher.fraction_of_lines_starting_with_bullet_point": (
        lines(("- a", 9), ("a", 1)),
        lines(("* a", 10), ("a", 1)),
    ),
    "dolma-gopher.fraction_of_lines_ending_with_ellipsis": (
        lines(("a…", 3), ("a", 7)),
        lines(("a…", 4), ("a", 9)),
    ),
    "dolma-gopher.fraction_of_duplicate_lines": ("\n".join("0123456777"), "\n".join("012345666")),
    "dolma-gopher.fraction_of_characters_in_duplicate_lines": (
        "aaa\naaa\n" + "b" * 14,
        "aaa\naaa\n" + "b" * 13,
    ),
    **{
        f"dolma-gopher.fraction_of_characters_in_most_common_{n}grams": (
            " ".join(["a b c d"[: 2 * n - 1], "x" * chars]),
            " ".join(["a b c d"[: 2 * n - 1], "x" * (chars - 1)]),
        )
        for n, chars in ((2, 8), (3, 14), (4, 21))
    },
    **{
        f"dolma-gopher.fraction_of_characters_in_duplicate_{n}grams": (
            twice(n, math.ceil(200 / (20 - n))),
            twice(n, math.ceil(200 / (20 - n)) - 1),
        )
        for n in range(5, 11)
    },
    "refinedweb-lines.removed_words_fraction": ("Home\n" + distinct(19), "Home\n" + distinct(18)),
}


def test_every_rule_has_a_case() -> None:
    rules = {rule.name for preset in PRESETS.values() for rule in preset.rules}
    unbounded = {
        f"{name}.page_chars" for name in ("c4-paper", "c4-fineweb")
    }  # off unless a recipe sets a maximum
    measured = {  # signals that a recipe may bound
        rule.name for preset in PRESETS.values() for rule in preset.rules if rule.bound == Bound()
    }
    assert rules - set(CASES) == unbounded | measured


@pytest.mark.parametrize("rule", CASES)
def test_a_text_on_the_bound_is_kept_and_the_next_one_is_removed(rule: str) -> None:
    kept, removed = CASES[rule]
    preset = rule.partition(".")[0]
    assert rule not in failed_rules(preset, kept)
    assert rule in failed_rules(preset, removed)


def test_gopher_words_have_an_upper_bound_too() -> None:
    assert "gopher.words" not in failed_rules("gopher", "word " * 100_000)
    assert "gopher.words" in failed_rules("gopher", "word " * 100_001)
    assert "gopher.mean_word_length" not in failed_rules("gopher", distinct(60, 10))
    assert "gopher.mean_word_length" in failed_rules("gopher", "abcdefghijk " + distinct(59, 10))


def cleaned(text: str, preset: str = "c4-code") -> str:
    """Clean a text with three sentences added, so that its page is kept."""
    filters = compile_filters(FilterSettings(presets=(preset,)), seed=1)
    kept = filters.apply(documents([f"{text}\n{FIVE}\n{FIVE}\n{FIVE}"])).kept.column("text").to_pylist()[0]
    return kept.removesuffix(f"{FIVE}\n{FIVE}\n{FIVE}").removesuffix("\n")  # type: ignore[no-any-return]


def test_a_line_of_four_words_is_dropped() -> None:
    assert cleaned("One two three four.") == ""
    assert cleaned(FIVE) == FIVE


@pytest.mark.parametrize("mark", [".", "?", "!", '"'])
def test_a_line_stays_with_each_end_mark(mark: str) -> None:
    assert cleaned(f"One two three four five{mark}") == f"One two three four five{mark}"


@pytest.mark.parametrize("end", ["...", "'", ":", "", "…"])
def test_a_line_goes_without_an_end_mark_or_with_an_ellipsis(end: str) -> None:
    assert cleaned(f"One two three four five{end}") == ""


def test_a_word_of_1001_characters_drops_its_line() -> None:
    assert cleaned("a b c d " + "é" * 999 + ".") != ""
    assert cleaned("a b c d " + "é" * 1000 + ".") == ""


def test_citations_are_taken_out_and_the_line_is_judged_without_them() -> None:
    assert cleaned("One[1] two[edit] three four[citation needed] five[].") == "One two three four five."
    assert cleaned("One two three four five. [1]") == ""  # the source does not strip again


def test_javascript_and_policy_lines_go_alone() -> None:
    assert cleaned("Please enable JavaScript { in your browser.") == ""
    assert cleaned("This site uses cookies to work well.") == ""


def test_a_sentence_model_counts_as_the_source_does(tmp_path: Path) -> None:
    from nltk.tokenize.punkt import PunktTrainer

    trainer = PunktTrainer()
    trainer.train("Dr. Smith met Dr. Jones. They met Dr. Brown. Then Dr. Smith left. " * 20)
    model = trainer.get_params()
    files = {
        "collocations.tab": ["\t".join(pair) for pair in sorted(model.collocations)],
        "sent_starters.txt": sorted(model.sent_starters),
        "abbrev_types.txt": sorted(model.abbrev_types),
        "ortho_context.tab": [f"{word}\t{number}" for word, number in sorted(model.ortho_context.items())],
    }
    for name, lines_ in files.items():
        (tmp_path / name).write_text("\n".join(lines_))
    text = "We met Dr. Smith at home.\nWe met Dr. Jones at home."
    assert failed_rules("c4-code", text) == []  # `marks` takes each "Dr." for an end
    assert failed_rules("c4-code", text, sentence_model=str(tmp_path)) == ["c4-code.sentences"]


def test_a_folder_that_is_no_sentence_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a punkt_tab model"):
        failed_rules("c4-code", FIVE, sentence_model=str(tmp_path))


def test_a_changed_sentence_model_is_another_filter(tmp_path: Path) -> None:
    settings = FilterSettings(presets=("c4-code",), set={"c4-code.sentence_model": str(tmp_path)})
    (tmp_path / "abbrev_types.txt").write_text("dr")
    before = digests_of(settings, 1)
    (tmp_path / "abbrev_types.txt").write_text("mr")
    assert before and digests_of(settings, 1) != before
