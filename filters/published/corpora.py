"""Presets of published corpora beside the well-known ones: what their pipelines measure or remove."""

from __future__ import annotations

from gristmill.filters.preset import COUNTS, LENGTHS, UNIT, Preset, rules_of
from gristmill.filters.published.distribution import SOURCE, TARGETS
from gristmill.filters.rules import Bound

REDPAJAMA = "github.com/togethercomputer/RedPajama-Data, app/src/core/quality_signals"
MADLAD = "Kudugunta et al. 2023 (arXiv:2309.04662), section 2.3; thresholds of allenai/datamap-rs"
SLIMPAJAMA = "Cerebras modelzoo, data_preparation/nlp/slimpajama: below 200 characters"
CODE = "RedPajama v1 (arXiv:2411.12372), GitHub; dolma/taggers/code, code_redpajama_taggers_v1"
DOLMA = "allenai/dolma, python/dolma/taggers/gopher.py; bounds of configs/dolma-v1_6/mixing/cc-head.yaml"
_NONE = Bound()  # measured, shown and exported; removes nothing until a recipe bounds it
_ENTROPY = tuple(number / 2 for number in range(21))
_WEIGHTS = tuple(
    float(number) for number in (-1000, -500, -200, -100, -50, -20, -10, 0, 10, 20, 50, 100, 200, 500)
)


def _redpajama() -> Preset:
    """The signals of RedPajama-V2 under their own names; none removes. Importance weights are measured where
    distributions of the source and of a target are named."""
    needs = {
        f"{target}_importance{end}": (SOURCE, target)
        for target in TARGETS
        for end in ("", "_length_correction")
    }
    rules = rules_of(
        "redpajama-v2",
        REDPAJAMA,
        ("rps_doc_word_count", "normal_words", None, _NONE, COUNTS),
        ("rps_doc_num_sentences", "sentences", None, _NONE, COUNTS),
        ("rps_doc_mean_word_length", "normal_word_chars", "normal_words", _NONE, LENGTHS),
        ("rps_doc_symbol_to_word_ratio", "symbols", "raw_words", _NONE, UNIT),
        ("rps_doc_frac_lines_end_with_ellipsis", "ellipsis_lines", "lines", _NONE, UNIT),
        ("rps_doc_frac_no_alph_words", "no_alpha_words", "raw_words", _NONE, UNIT),
        ("rps_doc_frac_unique_words", "unique_words", "normal_words", _NONE, UNIT),
        ("rps_doc_unigram_entropy", "entropy", None, _NONE, _ENTROPY),
        ("rps_doc_frac_all_caps_words", "caps_words", "raw_words", _NONE, UNIT),
        ("rps_doc_stop_word_fraction", "stop_words", "raw_words", _NONE, UNIT),
        ("rps_doc_lorem_ipsum", "lorem_ipsum", "normal_chars", _NONE, UNIT),
        ("rps_doc_curly_bracket", "curly_brackets", "chars", _NONE, UNIT),
        ("rps_lines_ending_with_terminal_punctution_mark", "terminal_lines", "lines", _NONE, UNIT),
        ("rps_lines_start_with_bulletpoint", "bullet_lines", "lines", _NONE, UNIT),
        ("rps_lines_javascript_counts", "javascript_words", "lines", _NONE, UNIT),
        ("rps_lines_num_words", "line_words", "lines", _NONE, COUNTS),
        ("rps_lines_uppercase_letter_fraction", "upper_chars", "chars", _NONE, UNIT),
        ("rps_lines_numerical_chars_fraction", "numeric_chars", "chars", _NONE, UNIT),
        *(
            (f"rps_doc_frac_chars_top_{n}gram", f"top_{n}gram_chars", "normal_word_chars", _NONE, UNIT)
            for n in (2, 3, 4)
        ),
        *(
            (f"rps_doc_frac_chars_dupe_{n}grams", f"dupe_{n}gram_chars", "normal_word_chars", _NONE, UNIT)
            for n in range(5, 11)
        ),
        *((f"rps_doc_{name}", name, None, _NONE, _WEIGHTS) for name in needs),
    )
    parameters = {"stop_words": None, "languages": None, **dict.fromkeys((SOURCE, *TARGETS))}
    counted = (SOURCE, *TARGETS)
    lists = ("stop_words", *counted)
    return Preset("redpajama-v2", "redpajama:REDPAJAMA_V2", rules, parameters, lists, counted, needs)


def _dolma() -> Preset:
    """Gopher's rules under the tagger's names, as it counts and as Dolma 1.6 bounded them."""
    top = {2: 0.20, 3: 0.18, 4: 0.16}
    rules = rules_of(
        "dolma-gopher",
        DOLMA,
        ("word_count", "words", None, Bound(min=50, max=100_000), COUNTS),
        ("median_word_length", "median_word_chars", None, Bound(min=3, max=10), LENGTHS),
        ("symbol_to_word_ratio", "symbol_words", "words", Bound(max=0.1), UNIT),
        ("fraction_of_words_with_alpha_character", "letter_words", "words", Bound(min=0.8), UNIT),
        ("required_word_count", "required_words", None, Bound(min=2), LENGTHS),
        ("fraction_of_lines_starting_with_bullet_point", "bullet_lines", "lines", Bound(max=0.9), UNIT),
        ("fraction_of_lines_ending_with_ellipsis", "ellipsis_lines", "lines", Bound(max=0.3), UNIT),
        ("fraction_of_duplicate_lines", "duplicate_lines", "lines", Bound(max=0.3), UNIT),
        (
            *("fraction_of_characters_in_duplicate_lines", "duplicate_line_chars", "word_chars"),
            *(Bound(max=0.3), UNIT),
        ),
        *(
            (
                *(f"fraction_of_characters_in_most_common_{n}grams", f"most_common_{n}gram_chars"),
                *("word_chars", Bound(max=top[n]), UNIT),
            )
            for n in top
        ),
        *(
            (
                *(f"fraction_of_characters_in_duplicate_{n}grams", f"duplicate_{n}gram_chars"),
                *(f"{n}gram_chars", Bound(max=(20 - n) / 100), UNIT),
            )
            for n in range(5, 11)
        ),
    )
    return Preset("dolma-gopher", "dolma:DOLMA_GOPHER", rules, {"blank_lines": False, "languages": ("en",)})


def _madlad() -> Preset:
    """Questionable sentences; Dolma 3 asks for the second and fifth of MADLAD-400's kinds alone."""
    rules = rules_of(
        "madlad",
        MADLAD,
        ("sentences", "sentences", None, Bound(min=5), COUNTS),
        ("questionable_fraction", "questionable_sentences", "sentences", Bound(below=0.2), UNIT),
    )
    parameters = {
        "list_case": True,
        "cursed": None,
        "abnormal_length": False,
        "technical": False,
        "languages": None,
    }
    return Preset("madlad", "madlad:MADLAD", rules, parameters, ("cursed",))


def _slimpajama() -> Preset:
    rules = rules_of("slimpajama", SLIMPAJAMA, ("characters", "letters", None, Bound(min=200), COUNTS))
    return Preset("slimpajama", "lengths:NFC", rules, {"languages": None})


def _length() -> Preset:
    """Lengths without a bound: for CCNet's 300 characters, Dolma 3's 150, or what a recipe wants."""
    rules = rules_of(
        "length",
        "",
        ("characters", "chars", None, _NONE, COUNTS),
        ("words", "words", None, _NONE, COUNTS),
        ("lines", "lines", None, _NONE, COUNTS),
    )
    return Preset("length", "lengths:LENGTH", rules, {"languages": None})


def _code() -> Preset:
    rules = rules_of(
        "code",
        CODE,
        ("longest_line", "longest_line_chars", None, Bound(max=1000), COUNTS),
        ("mean_line_length", "line_chars", "lines", Bound(max=100), COUNTS),
        ("alphanumeric_fraction", "alphanumeric_chars", "chars", Bound(min=0.25), UNIT),
        ("letters_per_token", "letter_chars", "tokens", Bound(min=1.5), LENGTHS),
        # StarCoder (arXiv:2305.06161, 3.1) drops files that begin as XML; Dolma tags the share of a file that
        # a copyright notice takes. Both are measured here.
        ("xml", "xml_declarations", None, _NONE, LENGTHS),
        ("copyright_fraction", "copyright_chars", "chars", _NONE, UNIT),
    )
    return Preset("code", "source_code:CODE", rules, {"languages": None})


CORPUS_PRESETS = (_redpajama(), _dolma(), _madlad(), _slimpajama(), _length(), _code())
