"""Thresholds by language from one's own reference texts, in the files that `filter.by_language` reads.

FineWeb-2 sets each language's bounds by statistics of its texts (Penedo et al. 2025, arXiv:2506.20920) and
publishes the values; how they follow from the statistics no code of theirs says. Here a bound is where `tail`
of the reference's documents would be removed by its rule, half of them on each side of a rule with two. Least
language scores are the median less the standard deviation, between 0.3 and 0.9 (second-hand: summaries of
that paper).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from gristmill.errors import UsageError
from gristmill.files.parquet import read_parquet
from gristmill.filters.by_language import NGRAM_THRESHOLDS, THRESHOLDS
from gristmill.pipeline.look.analysis import annotated, measured, values_of
from gristmill.pipeline.stages.filter import FilterFacts
from gristmill.text.words import HAS_LETTER, scan, text_spans

Floats = npt.NDArray[np.float64]
MIN_DOCUMENTS = 100
STOP_WORDS = 15
_LEAST_SCORE, _MOST_SCORE = 0.3, 0.9
_DIGITS = 3  # as FineWeb-2 writes them


@dataclass(slots=True)
class Reference:
    """A language's documents: values by rule, language scores, and how many documents hold a word."""

    documents: int = 0
    values: dict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))
    scores: list[Floats] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)


def write_thresholds(
    out: Path, folder: Path, tail: float, min_documents: int = MIN_DOCUMENTS
) -> dict[str, int]:
    """Write a file for each language of `min_documents` documents and more; return all languages' documents.

    Raises UsageError for a run whose filters measure none of the rules.
    """
    found = references(out)
    if found and not any(reference.values for reference in found.values()):
        raise UsageError(
            f"the filters of `{out}` measure none of the rules that have thresholds by language",
            hint="measure the presets gopher, gopher-repetition and fineweb",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for language, reference in sorted(found.items()):
        if language and reference.documents >= min_documents:
            body = yaml.safe_dump(thresholds(reference, tail), allow_unicode=True, sort_keys=True)
            (folder / f"{language}.yml").write_text(body, encoding="utf-8")
    return {language: found[language].documents for language in sorted(found)}


def references(out: Path) -> dict[str, Reference]:
    """Measure each language of a run whose filters annotate."""
    found: dict[str, Reference] = defaultdict(Reference)
    wanted = {key.rpartition(".")[0] for key in _keys().values()}
    for manifest in annotated(out):
        judged = {
            rule["rule"]: rule for rule in manifest.stated(FilterFacts).bounds if rule["rule"] in wanted
        }
        for documents, signals in measured(manifest):
            table = read_parquet(documents, columns=["language", "language_score", "text"])
            told = read_parquet(signals)
            values = {name: values_of(told, rule) for name, rule in judged.items()}
            _take(found, table, values)
    return found


def _take(found: dict[str, Reference], table: pa.Table, values: Mapping[str, Floats]) -> None:
    languages = np.array([language or "" for language in table["language"].to_pylist()], object)
    scores = np.asarray(table["language_score"].fill_null(np.nan), np.float64)
    for language in sorted(set(languages)):
        rows = np.flatnonzero(languages == language)
        own = found[language]
        own.documents += len(rows)
        own.scores.append(scores[rows])
        for name, value in values.items():
            own.values[name].append(value[rows])
        own.words.update(_words(table["text"].take(pa.array(rows))))


def _words(texts: pa.ChunkedArray) -> Iterator[str]:
    """The words of texts in lower case, once for each text that holds them."""
    starts, stops, data = text_spans(texts)
    words = scan(starts, stops, data)
    row = np.repeat(np.arange(len(starts)), np.diff(words.rows))
    letters = np.flatnonzero(words.flags & HAS_LETTER)
    _, first = np.unique(np.stack([row[letters], words.hash_folded[letters]]), axis=1, return_index=True)
    for at in letters[first].tolist():
        yield data[words.core_start[at] : words.core_end[at]].tobytes().decode("utf-8", "replace").lower()


def thresholds(reference: Reference, tail: float) -> dict[str, Any]:
    """A language's thresholds, by FineWeb-2's keys."""
    sides = Counter(key.rpartition(".")[0] for key in _keys().values())
    found: dict[str, Any] = {}
    ngrams: dict[str, list[list[float]]] = defaultdict(list)
    for name, key in _keys().items():
        rule, _, side = key.rpartition(".")
        if rule in reference.values:
            bound = _bound(np.concatenate(reference.values[rule]), side, tail / sides[rule])
            listed, _, n = name.partition(" ")
            if n:
                ngrams[listed].append([int(n), bound])
            else:
                found[name] = bound
    scores = np.concatenate(reference.scores)
    if len(known := scores[~np.isnan(scores)]):
        least = float(np.clip(np.median(known) - known.std(), _LEAST_SCORE, _MOST_SCORE))
        found["language_score"] = round(least, _DIGITS)
    common = sorted(reference.words, key=lambda word: (-reference.words[word], word))[:STOP_WORDS]
    return {**found, **ngrams, "stopwords": common}


def _keys() -> dict[str, str]:
    """FineWeb-2's keys, those of n-grams as `key n`, and the rule and side of each."""
    lengths = {"top_n_grams": (2, 3, 4), "dup_n_grams": (5, 6, 7, 8, 9, 10)}
    plain = {name: key for name, key in THRESHOLDS.items() if name != "language_score"}
    return plain | {
        f"{name} {n}": key.format(n) for name, key in NGRAM_THRESHOLDS.items() for n in lengths[name]
    }


def _bound(values: Floats, side: str, tail: float) -> float:
    """The bound beyond which `tail` of the values lie at most, rounded away from them."""
    ordered, scale = np.sort(values), 10.0**_DIGITS
    if side == "max":
        return float(np.ceil(ordered[int(np.ceil((1 - tail) * len(ordered))) - 1] * scale) / scale)
    return float(np.floor(ordered[int(tail * len(ordered))] * scale) / scale)
