"""The presets: published rules with their constants and sources, switchable and overridable one by one.

A preset's rules are bounds on signals; its parameters change what is measured or what text is kept. In a
recipe, `set: {gopher.mean_word_length.max: 12}` changes a bound, `set: {gopher.stop_words: off}` switches a
rule off, and `set: {c4-code.min_words_per_line: 3}` changes a parameter.
"""

from __future__ import annotations

from typing import Any

from gristmill.filters.preset import COUNTS, LENGTHS, UNIT, Preset, rules_of
from gristmill.filters.published.corpora import CORPUS_PRESETS
from gristmill.filters.rules import Bound

MASSIVETEXT = "Rae et al. 2021 (arXiv:2112.11446), appendix A1.1"
TABLE_A1 = "Rae et al. 2021 (arXiv:2112.11446), table A1"
C4_CODE = "tensorflow_datasets/text/c4_utils.py, clean_page"
C4_PAPER = "Raffel et al. 2020 (JMLR 21:140), section 2.2"
FINEWEB_CODE = "datatrove, FineWebQualityFilter, as run for FineWeb"
FINEWEB_PAPER = "Penedo et al. 2024 (arXiv:2406.17557), section 3.6"
TXT360 = "LLM360/TxT360, web.py of its space: line-level removal, after RefinedWeb's and C4's rules"
REFINEDWEB = "Penedo et al. 2023 (arXiv:2306.01116), appendix G.2"


def _gopher() -> Preset:
    rules = rules_of(
        "gopher",
        MASSIVETEXT,
        ("words", "content_words", None, Bound(min=50, max=100_000), COUNTS),
        ("mean_word_length", "content_word_chars", "content_words", Bound(min=3, max=10), LENGTHS),
        ("hash_fraction", "hashes", "words", Bound(max=0.1), UNIT),
        ("ellipsis_fraction", "ellipses", "words", Bound(max=0.1), UNIT),
        ("bullet_lines_fraction", "bullet_lines", "lines", Bound(max=0.9), UNIT),
        ("ellipsis_lines_fraction", "ellipsis_lines", "lines", Bound(max=0.3), UNIT),
        ("letter_words_fraction", "letter_words", "words", Bound(min=0.8), UNIT),
        ("stop_words", "stop_words", None, Bound(min=2), LENGTHS),
    )
    return Preset("gopher", "quality:GOPHER", rules, {"languages": ("en",)})


def _repetition() -> Preset:
    top = {2: 0.20, 3: 0.18, 4: 0.16}
    duplicate = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    rules = rules_of(
        "gopher-repetition",
        TABLE_A1,
        ("characters", "chars", None, Bound(min=1), COUNTS),
        ("duplicate_lines_fraction", "duplicate_lines", "lines", Bound(max=0.3), UNIT),
        ("duplicate_paragraphs_fraction", "duplicate_paragraphs", "paragraphs", Bound(max=0.3), UNIT),
        ("duplicate_line_chars_fraction", "duplicate_line_chars", "chars", Bound(max=0.2), UNIT),
        ("duplicate_paragraph_chars_fraction", "duplicate_paragraph_chars", "chars", Bound(max=0.2), UNIT),
        *((f"top_{n}gram_fraction", f"top_{n}gram_chars", "chars", Bound(max=top[n]), UNIT) for n in top),
        *(
            (
                f"duplicate_{n}gram_fraction",
                f"duplicate_{n}gram_chars",
                "chars",
                Bound(max=duplicate[n]),
                UNIT,
            )
            for n in duplicate
        ),
    )
    return Preset("gopher-repetition", "repetition:REPETITION", rules, {"languages": None})


def _fineweb(name: str, source: str, end: Bound, short: Bound, duplicate: Bound) -> Preset:
    rules = rules_of(
        name,
        source,
        ("text_lines", "text_lines", None, Bound(min=1), COUNTS),
        ("end_mark_lines_fraction", "end_mark_lines", "text_lines", end, UNIT),
        ("short_lines_fraction", "short_lines", "text_lines", short, UNIT),
        ("duplicate_line_chars_fraction", "duplicate_text_line_chars", "line_chars", duplicate, UNIT),
        ("newlines_per_word", "newlines", "words", Bound(max=0.3), UNIT),
    )
    return Preset(name, "quality:FINEWEB", rules, {"short_line_chars": 30, "languages": None})


def _c4(name: str, source: str, sentences: int, page_chars: float | None, **parameters: Any) -> Preset:
    rules = rules_of(
        name,
        source,
        ("page_chars", "chars", None, Bound(max=page_chars), COUNTS),
        ("lorem_ipsum", "lorem_ipsum", None, Bound(max=0), LENGTHS),
        ("curly_brackets", "curly_brackets", None, Bound(max=0), LENGTHS),
        ("sentences", "sentences", None, Bound(min=sentences), COUNTS),
    )
    defaults = {
        "min_words_per_line": 5,
        "max_word_chars": 1000,
        "end_mark": True,
        "sentence_model": None,
        "languages": ("en",),
    }
    return Preset(name, "c4:C4", rules, {**defaults, **parameters}, lists=("sentence_model",))


def _mc4() -> Preset:
    rules = rules_of(
        "mc4-paragraphs",
        "tensorflow_datasets/text/c4_utils.py, paragraph_filter",
        ("lines", "split_lines", None, Bound(min=3), COUNTS),
        ("third_line_chars", "third_line_chars", None, Bound(min=200), COUNTS),
    )
    return Preset("mc4-paragraphs", "quality:MC4", rules, {"languages": None})


def _lines(name: str, source: str, removed: Bound, *, javascript: bool) -> Preset:
    rules = rules_of(
        name,
        source,
        ("removed_words_fraction", "removed_line_words", "line_words", removed, UNIT),
    )
    parameters = {
        "max_upper_fraction": 0.5,
        "max_digit_fraction": 0.999999,
        "pattern_words": 10,
        "javascript": javascript,
        "languages": ("en",),
    }
    return Preset(name, "refinedweb:LINES", rules, parameters)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _gopher(),
        _repetition(),
        _c4("c4-code", C4_CODE, 3, 1.9e5),
        _c4("c4-paper", C4_PAPER, 5, None, min_words_per_line=3),
        # FineWeb ran datatrove's C4 filter, which follows the paper's numbers, without the end-mark rule.
        _c4("c4-fineweb", FINEWEB_CODE, 5, None, min_words_per_line=3, end_mark=False),
        _fineweb("fineweb", FINEWEB_CODE, Bound(min=0.12), Bound(max=0.67), Bound(max=0.01)),
        _fineweb("fineweb-paper", FINEWEB_PAPER, Bound(above=0.12), Bound(below=0.67), Bound(below=0.1)),
        _mc4(),
        _lines("refinedweb-lines", REFINEDWEB, Bound(max=0.05), javascript=False),
        _lines("txt360-lines", TXT360, Bound(), javascript=True),
        *CORPUS_PRESETS,
    )
}
