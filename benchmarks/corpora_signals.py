"""What the originals measure or decide by one text, beside ours: FineWeb's filters, RedPajama-V2's signals,
CCNet's keys of paragraphs, Dolma's signals of code.

`corpora.py` runs it and hands over what each original said, with the seconds it took.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filters_texts import documents

from gristmill.dedup.below.split import ccnet_key
from gristmill.filters.block import Batch
from gristmill.filters.passes import compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.published.distribution import (
    BUCKETS,
    COUNTS,
    LAMBDA,
    SOURCE,
    TARGETS,
    Distribution,
    save,
)
from gristmill.filters.published.importance import count, importance_signals, raw_words
from gristmill.filters.published.redpajama import measure_redpajama, normalise
from gristmill.filters.published.source_code import code_reference, copyright_chars
from gristmill.filters.settings import FilterSettings

DIGITS = 8  # RedPajama's PRECISION


def compare_fineweb(texts: Sequence[str], told: tuple[list[Any], float]) -> dict[str, Any]:
    """Decisions of all four filters in a row, and texts where both keep."""
    theirs, seconds = told
    presets = ("gopher-repetition", "gopher", "c4-fineweb", "fineweb")
    off = {f"{name}.languages": None for name in presets}
    filters = compile_filters(FilterSettings(presets=presets, set=off), seed=1)
    began = time.perf_counter()
    outcome = filters.apply(documents(list(texts)))
    mine = time.perf_counter() - began
    ids = outcome.decisions["id"].to_pylist()
    rules = dict(zip(outcome.removed["id"].to_pylist(), outcome.removed["rules"].to_pylist(), strict=True))
    kept = dict(zip(outcome.kept["id"].to_pylist(), outcome.kept["text"].to_pylist(), strict=True))
    classes, same_text, both = Counter[str](), 0, 0
    for id_, (reason, text) in zip(ids, theirs, strict=True):
        if (reason is None) is not (id_ in kept):
            classes[f"theirs {reason or 'keeps'}, ours {(rules.get(id_) or ['keeps'])[0]}"] += 1
        elif reason is None:
            both += 1
            same_text += text.strip() == kept[id_].strip()
    return {
        "compared": len(texts),
        "agree": len(texts) - sum(classes.values()),
        "kept_by_both": both,
        "same_text": same_text,
        "classes": dict(classes.most_common()),
        "kept_theirs": sum(reason is None for reason, _ in theirs),
        "kept_ours": len(kept),
        "seconds": {"theirs": round(seconds, 1), "ours": round(mine, 1)},
    }


def compare_redpajama(texts: Sequence[str], told: tuple[list[Any], float]) -> dict[str, Any]:
    """Values of every signal that both have; those by line are summed as ours are."""
    theirs, seconds = told
    began = time.perf_counter()
    signals = measure_redpajama(Batch(documents(list(texts))), {"stop_words": None}).signals
    mine = time.perf_counter() - began
    rules = {rule.name.partition(".")[2]: rule for rule in PRESETS["redpajama-v2"].rules}
    compared, differing = 0, Counter[str]()
    for row, answer in enumerate(theirs):
        for name, value in answer.items():
            rule = rules.get(name)
            if rule is None:
                continue
            ours = float(signals[rule.signal][row])
            if isinstance(value, list):
                value, ours = _by_line(name, value, texts[row]), ours
            elif rule.per:
                per = float(signals[rule.per][row])
                ours = ours / per if per else 0.0
            compared += 1
            differing[name] += not math.isclose(value or 0.0, ours, abs_tol=2 * 10**-DIGITS)
    return {
        "compared": compared,
        "agree": compared - sum(differing.values()),
        "signals": len({name for answer in theirs[:1] for name in answer if name in rules}),
        "classes": {name: number for name, number in differing.most_common() if number},
        "seconds": {"theirs": round(seconds, 1), "ours": round(mine, 1)},
    }


def write_counts(texts: Sequence[str], folder: Path) -> dict[str, str]:
    """Count a quarter of the texts each as source and targets, in files named as RedPajama names them."""
    places = {}
    for number, (name, dataset) in enumerate({SOURCE: "ccnet", **{name: name for name in TARGETS}}.items()):
        own = texts[number::4]
        words = raw_words(own)
        save(Distribution(count(words), len(words.places) / len(own)), folder)
        places[name] = str(folder / f"{dataset}.en.{BUCKETS}.{COUNTS}")
        (folder / COUNTS).rename(places[name])
        (folder / LAMBDA).rename(folder / f"{dataset}.en.{LAMBDA}")
    return places


def compare_importance(
    texts: Sequence[str], told: tuple[list[Any], float], places: dict[str, str]
) -> dict[str, Any]:
    """RedPajama's six importance weights by the same counts, and the counts of each text by bucket."""
    theirs, seconds = told
    began = time.perf_counter()
    words = raw_words(texts)
    signals = importance_signals(words, np.array([len(text) for text in texts]), places)
    mine = time.perf_counter() - began
    compared, differing = 0, Counter[str]()
    for row, (weights, features) in enumerate(theirs):
        for name, value in weights.items():
            ours = float(signals[name.removeprefix("rps_doc_")][row])
            compared += 1
            differing[name] += not math.isclose(value or 0.0, ours, abs_tol=2 * 10**-DIGITS)
        counts = count(raw_words(texts[row : row + 1]))
        compared += 1
        differing["counts of a text's words and pairs"] += {
            str(bucket): int(counts[bucket]) for bucket in np.flatnonzero(counts)
        } != features
    return {
        "compared": compared,
        "agree": compared - sum(differing.values()),
        "signals": len(signals),
        "classes": {name: number for name, number in differing.most_common() if number},
        "seconds": {"theirs": round(seconds, 1), "ours": round(mine, 1)},
    }


def _by_line(name: str, values: Sequence[float], text: str) -> float:
    """Shares of a line's characters times its length, where ours counts characters; else the sum."""
    if name == "rps_lines_uppercase_letter_fraction":
        return round(sum(value * size for value, size in zip(values, _line_sizes(text), strict=True)))
    if name == "rps_lines_numerical_chars_fraction":
        lines = text.split("\n")
        sizes = [len(normalise(line)) for line in (lines if lines[-1] else lines[:-1])]
        return round(sum(value * size for value, size in zip(values, sizes, strict=True)))
    return float(sum(values))


def _line_sizes(text: str) -> list[int]:
    lines = text.split("\n")
    return [len(line) + 1 for line in lines[:-1]] + ([len(lines[-1])] if lines[-1] else [])


def compare_ccnet(texts: Sequence[str], told: tuple[list[Any], float]) -> dict[str, Any]:
    """The keys by which paragraphs are compared."""
    theirs, seconds = told
    compared = agree = 0
    for text, keys in zip(texts, theirs, strict=True):
        mine = [ccnet_key(line) for line in text.split("\n")]
        compared += len(keys)
        agree += sum(one == other for one, other in zip(mine, keys, strict=True))
    return {"compared": compared, "agree": agree, "classes": {}, "seconds": {"theirs": round(seconds, 1)}}


def compare_dolma(texts: Sequence[str], theirs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Values of the code taggers."""
    compared, differing = 0, Counter[str]()
    for text, tags in zip(texts, theirs, strict=True):
        own = code_reference(text)
        lines, chars = own["lines"], own["chars"]
        pairs = {
            "code_redpajama_taggers_v1.max_line_length_doc": own["longest_line_chars"],
            "code_redpajama_taggers_v1.avg_line_length_doc": own["line_chars"] / lines if lines else 0,
            "code_redpajama_taggers_v1.alnum_prop_doc": own["alphanumeric_chars"] / chars if chars else 0,
            "code_redpajama_taggers_v1.alpha_token_prop_doc": own["letter_chars"] / own["tokens"],
        }
        notices = [
            tags.get(f"code_copyright_comments_v1.{kind}") for kind in ("copyright_notice", "comment_block")
        ]
        spans = [min(span[1], len(text)) - span[0] for span in notices if span]
        for name, mine in pairs.items():
            if name in tags:
                compared += 1
                differing[name] += not math.isclose(tags[name][2], mine, abs_tol=1e-6)
        compared += 1
        differing["code_copyright_comments_v1"] += (spans or [0])[0] != copyright_chars(text)
    return {
        "compared": compared,
        "agree": compared - sum(differing.values()),
        "classes": {name: number for name, number in differing.most_common() if number},
    }
