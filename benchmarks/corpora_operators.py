"""Decisions of dolma's taggers under its mixer's bounds, and of data-juicer's operators, beside ours.

`corpora.py` runs it. Dolma: configs/dolma-v1_6/mixing/cc-head.yaml, whose bounds are read under the names
that the taggers give (the file asks for `most_common_2gram`, the taggers say `2grams`). data-juicer: each
operator's default bounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filters_texts import documents

from gristmill.filters.block import Batch
from gristmill.filters.lengths import measure_length
from gristmill.filters.options import PiiSettings
from gristmill.filters.passes import compile_filters
from gristmill.filters.pii import find, pii_block
from gristmill.filters.settings import FilterSettings
from gristmill.filters.source_code import code_reference

# As dolma 1.6 mixed: what its tagger says, below this or above that a document goes, our rules.
BOUNDS: tuple[tuple[str, float | None, float | None, tuple[str, ...]], ...] = (
    ("word_count", 50, 100_000, ("gopher.words",)),
    ("median_word_length", 3, 10, ("gopher.mean_word_length",)),
    ("symbol_to_word_ratio", None, 0.1, ("gopher.hash_fraction", "gopher.ellipsis_fraction")),
    ("fraction_of_words_with_alpha_character", 0.8, None, ("gopher.letter_words_fraction",)),
    ("required_word_count", 2, None, ("gopher.stop_words",)),
    ("fraction_of_lines_starting_with_bullet_point", None, 0.9, ("gopher.bullet_lines_fraction",)),
    ("fraction_of_lines_ending_with_ellipsis", None, 0.3, ("gopher.ellipsis_lines_fraction",)),
    ("fraction_of_duplicate_lines", None, 0.3, ("gopher-repetition.duplicate_lines_fraction",)),
    (
        *("fraction_of_characters_in_duplicate_lines", None, 0.3),
        ("gopher-repetition.duplicate_line_chars_fraction",),
    ),
    *(
        (
            *(f"fraction_of_characters_in_most_common_{n}grams", None, bound),
            (f"gopher-repetition.top_{n}gram_fraction",),
        )
        for n, bound in ((2, 0.2), (3, 0.18), (4, 0.16))
    ),
    *(
        (
            *(f"fraction_of_characters_in_duplicate_{n}grams", None, (20 - n) / 100),
            (f"gopher-repetition.duplicate_{n}gram_fraction",),
        )
        for n in range(5, 11)
    ),
)
PARAGRAPHS = "gopher-repetition.duplicate_paragraph"  # rules that dolma has not
MOST_PERSONAL = 5


def dolma_decisions(texts: Sequence[str], tagged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Documents that Gopher's rules remove, by both versions of the tagger, and those with too much personal
    data; of differences, the rule that made them."""
    presets = ("gopher", "gopher-repetition")
    changes = {f"{name}.languages": None for name in presets}
    changes["gopher-repetition.duplicate_line_chars_fraction.max"] = 0.3
    outcome = compile_filters(FilterSettings(presets=presets, set=changes), seed=1).apply(
        documents(list(texts))
    )
    failed = dict(zip(outcome.removed["id"].to_pylist(), outcome.removed["rules"].to_pylist(), strict=True))
    ours = [
        {rule for rule in failed.get(id_) or () if not rule.startswith(PARAGRAPHS)}
        for id_ in outcome.decisions["id"].to_pylist()
    ]
    told: dict[str, Any] = {}
    for tagger in ("gopher_v1", "gopher_v2"):
        classes, agree = Counter[str](), 0
        for tags, mine in zip(tagged, ours, strict=True):
            theirs = {name for name, low, high, _ in BOUNDS if _is_out(tags, f"{tagger}.{name}", low, high)}
            agree += bool(theirs) is bool(mine)
            if bool(theirs) is not bool(mine):
                names = sorted(theirs) or sorted(mine)
                classes[f"{'theirs' if theirs else 'ours'} alone: {', '.join(names)}"] += 1
        told[f"dolma {tagger}"] = _told(len(texts), agree, classes)
    told["dolma pii_regex_with_counts_fast_v2"] = _personal(texts, tagged)
    told["dolma lengths"] = _lengths(texts, tagged)
    return told


def _is_out(tags: Mapping[str, Any], name: str, low: float | None, high: float | None) -> bool:
    if name not in tags:
        return False  # a text too short for it has no such attribute
    value = tags[name][2]
    return (low is not None and value < low) or (high is not None and value > high)


def _personal(texts: Sequence[str], tagged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    classes, agree = Counter[str](), 0
    kinds = {"email": ("x",), "ip": ("x",), "phone": ("x",)}
    for text, tags in zip(texts, tagged, strict=True):
        theirs = tags.get("pii_regex_with_counts_fast_v2.doc_count", [0, 0, 0])[2] > MOST_PERSONAL
        ours = len(find(text.encode(), kinds)) > MOST_PERSONAL
        agree += theirs is ours
        if theirs is not ours:
            classes["theirs alone" if theirs else "ours alone"] += 1
    return _told(len(texts), agree, classes)


def _lengths(texts: Sequence[str], tagged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    classes, agree = Counter[str](), 0
    names = (("char_length_v1.length", "chars"), ("whitespace_tokenizer_v1.length", "tokens"))
    for text, tags in zip(texts, tagged, strict=True):
        own = code_reference(text)
        for name, signal in names:
            same = tags[name][2] == own[signal]
            agree += same
            classes[name] += not same
    return _told(2 * len(texts), agree, classes)


def data_juicer_decisions(texts: Sequence[str], measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What each operator decides: of filters by its own bounds, of mappers whether anything is found."""
    batch = Batch(documents(list(texts)))
    personal = pii_block(PiiSettings(email=True, ip=True)).measure(batch).signals
    words = measure_length(batch, {}).signals["words"]
    told = {}
    for name, decide in _OPERATORS.items():
        classes, agree = Counter[str](), 0
        for text, answer, num_words in zip(texts, measured, words, strict=True):
            theirs, ours = answer[name][1], decide({**code_reference(text), "words": int(num_words)})
            agree += theirs is ours
            classes[f"theirs {theirs}, ours {ours}"] += theirs is not ours
        told[f"data-juicer {name}"] = _told(len(texts), agree, classes)
    for name, signal in (("clean_email_mapper", "emails"), ("clean_ip_mapper", "ips")):
        classes, agree = Counter[str](), 0
        for row, answer in enumerate(measured):
            theirs, ours = answer[name][1], bool(personal[signal][row])
            agree += theirs is ours
            classes["found by them alone" if theirs else "found by us alone"] += theirs is not ours
        told[f"data-juicer {name}"] = _told(len(texts), agree, classes)
    return told


def _mean(counts: Mapping[str, int], part: str, whole: str) -> float:
    return counts[part] / counts[whole] if counts[whole] else 0.0


_OPERATORS: dict[str, Callable[[Mapping[str, int]], bool]] = {
    "alphanumeric_filter": lambda own: _mean(own, "alphanumeric_chars", "chars") >= 0.25,
    "average_line_length_filter": lambda own: _mean(own, "line_chars", "lines") >= 10,
    "maximum_line_length_filter": lambda own: own["longest_line_chars"] >= 10,
    "text_length_filter": lambda own: own["chars"] >= 10,
    "words_num_filter": lambda own: own["words"] >= 10,
    "clean_copyright_mapper": lambda own: own["copyright_chars"] > 0,
}


def _told(compared: int, agree: int, classes: Counter[str]) -> dict[str, Any]:
    found = {name: number for name, number in classes.most_common() if number}
    assert math.isclose(compared - agree, sum(found.values()))
    return {"compared": compared, "agree": agree, "classes": found}
