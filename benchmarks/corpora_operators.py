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
from gristmill.filters.options import PiiSettings
from gristmill.filters.passes import compile_filters
from gristmill.filters.pii import KINDS, find, pii_block
from gristmill.filters.presets import PRESETS
from gristmill.filters.published.lengths import measure_length
from gristmill.filters.published.source_code import code_reference
from gristmill.filters.settings import FilterSettings

GOPHER = PRESETS["dolma-gopher"].rules  # dolma's names, its bounds of 1.6
PARAGRAPHS = "gopher-repetition.duplicate_paragraph"  # rules that dolma has not
MOST_PERSONAL = 5
LEAST_WORDS = 10  # data-juicer's words_num_filter


def dolma_decisions(texts: Sequence[str], tagged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Documents that the rules remove, by both versions of the tagger beside `dolma-gopher` and beside
    Gopher's own rules, and those with too much personal data; of differences, what made them."""
    told: dict[str, Any] = {}
    theirs = {version: [_out(tags, version) for tags in tagged] for version in ("gopher_v1", "gopher_v2")}
    for version, out in theirs.items():
        blank = {"dolma-gopher.languages": None, "dolma-gopher.blank_lines": version == "gopher_v1"}
        told[f"dolma {version}"] = _decided(out, _failed(texts, ("dolma-gopher",), blank), _rules)
    plain = {
        **dict.fromkeys(("gopher.languages", "gopher-repetition.languages")),
        "gopher-repetition.duplicate_line_chars_fraction.max": 0.3,
    }
    own = [
        {rule for rule in rules if not rule.startswith(PARAGRAPHS)}
        for rules in _failed(texts, ("gopher", "gopher-repetition"), plain)
    ]
    for version, out in theirs.items():

        def cause(row: int, there: set[str], here: set[str]) -> str:
            if there and not theirs["gopher_v2"][row]:
                return "blank lines are duplicates of each other"
            if there and all("duplicate" in name for name in there):
                return "every occurrence counts, not all but the first"
            return _rules(row, there, here)

        told[f"dolma {version} beside Gopher's table"] = _decided(out, own, cause)
    told["dolma pii_regex_with_counts_fast_v2"] = _personal(texts, tagged)
    told["dolma lengths"] = _lengths(texts, tagged)
    return told


def _failed(texts: Sequence[str], presets: Sequence[str], changes: Mapping[str, Any]) -> list[set[str]]:
    """The rules that each text fails."""
    chosen = FilterSettings(presets=tuple(presets), set=dict(changes))
    outcome = compile_filters(chosen, seed=1).apply(documents(list(texts)))
    failed = dict(zip(outcome.removed["id"].to_pylist(), outcome.removed["rules"].to_pylist(), strict=True))
    return [set(failed.get(id_) or ()) for id_ in outcome.decisions["id"].to_pylist()]


def _out(tags: Mapping[str, Any], tagger: str) -> set[str]:
    """The rules whose bounds an attribute breaks; a text too short for one has no such attribute."""
    found = set()
    for rule in GOPHER:
        name = rule.name.partition(".")[2]
        if (attribute := tags.get(f"{tagger}.{name}")) is not None:
            value = attribute[2]
            low, high = rule.bound.min, rule.bound.max
            if (low is not None and value < low) or (high is not None and value > high):
                found.add(name)
    return found


def _decided(
    theirs: Sequence[set[str]], ours: Sequence[set[str]], cause: Callable[[int, set[str], set[str]], str]
) -> dict[str, Any]:
    classes = Counter[str]()
    for row, (there, here) in enumerate(zip(theirs, ours, strict=True)):
        if bool(there) is not bool(here):
            classes[f"{'theirs' if there else 'ours'} alone: {cause(row, there, here)}"] += 1
    return _told(len(theirs), len(theirs) - classes.total(), classes)


def _rules(row: int, there: set[str], here: set[str]) -> str:
    return ", ".join(sorted(there or here))


def _personal(texts: Sequence[str], tagged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    classes = Counter[str]()
    names = {"email": "EMAIL_ADDRESS", "ip": "IP_ADDRESS", "phone": "PHONE_NUMBER"}
    kinds = {kind: ("x",) for kind in names}
    for text, tags in zip(texts, tagged, strict=True):
        key = "pii_regex_with_counts_fast_v2"
        theirs = tags.get(f"{key}.doc_count", [0, 0, 0])[2]
        found = Counter(KINDS[kind] for _, _, kind, _ in find(text.encode(), kinds))
        if (theirs > MOST_PERSONAL) is not (found.total() > MOST_PERSONAL):
            more = [
                f"{kind} {tags.get(f'{key}.{name}', [0] * 4)[3]} there, {found[kind]} here"
                for kind, name in names.items()
                if tags.get(f"{key}.{name}", [0] * 4)[3] != found[kind]
            ]
            classes[f"{'theirs' if theirs > MOST_PERSONAL else 'ours'} alone: {'; '.join(more)}"] += 1
    return _told(len(texts), len(texts) - classes.total(), classes)


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
        classes = Counter[str]()
        for row, answer in enumerate(measured):
            theirs, ours = answer[name][1], bool(personal[signal][row])
            if theirs is not ours:
                classes[_found_alone(texts[row], signal, answer[name][2])] += 1
        told[f"data-juicer {name}"] = _told(len(texts), len(texts) - classes.total(), classes)
    return told


def words_of_names(named: Sequence[str], measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The decision of data-juicer's word count on texts of named words."""
    words = measure_length(Batch(documents(list(named))), {}).signals["words"]
    apart = Counter[str]()
    for answer, num_words in zip(measured, words, strict=True):
        theirs, ours = answer["words_num_filter"][1], bool(num_words >= LEAST_WORDS)
        apart[f"theirs {theirs}, ours {ours}"] += theirs is not ours
    return _told(len(named), len(named) - apart.total(), apart)


def _found_alone(text: str, signal: str, theirs: Sequence[str]) -> str:
    """Why one side alone finds an address: of theirs what FineWeb's pattern refuses, of ours what theirs
    does."""
    if not theirs:
        start, end, *_ = find(text.encode(), {signal[:-1]: ("x",)})[0]
        last = text.encode()[start:end].decode().rpartition(".")[2]
        return "we alone: " + ("a domain ends in a number" if not last.isalpha() else "another spelling")
    found = theirs[0]
    before = text[: text.index(found)][-1:]
    if signal == "emails":
        if found.partition("@")[2].startswith("."):
            return "they alone: a domain begins with a dot"
        return "they alone: " + (
            "a letter of another script before it" if before.isalpha() else "another spelling"
        )
    if ":" in found:
        return "they alone: IPv6"
    if before.isdigit() or before == ".":
        return "they alone: a part of a longer number"
    return "they alone: an address of no public network"


def _mean(counts: Mapping[str, int], part: str, whole: str) -> float:
    return counts[part] / counts[whole] if counts[whole] else 0.0


_OPERATORS: dict[str, Callable[[Mapping[str, int]], bool]] = {
    "alphanumeric_filter": lambda own: _mean(own, "alphanumeric_chars", "chars") >= 0.25,
    "average_line_length_filter": lambda own: _mean(own, "line_chars", "lines") >= 10,
    "maximum_line_length_filter": lambda own: own["longest_line_chars"] >= 10,
    "text_length_filter": lambda own: own["chars"] >= 10,
    "words_num_filter": lambda own: own["words"] >= LEAST_WORDS,
    "clean_copyright_mapper": lambda own: own["copyright_chars"] > 0,
}


def _told(compared: int, agree: int, classes: Counter[str]) -> dict[str, Any]:
    found = {name: number for name, number in classes.most_common() if number}
    assert math.isclose(compared - agree, sum(found.values()))
    return {"compared": compared, "agree": agree, "classes": found}
