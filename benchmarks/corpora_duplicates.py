"""Duplicates that data-juicer and text-dedup find by their own code, beside ours, on the same texts with made
copies among them.

`corpora.py` runs it. Every third text comes again: as it is, in other case and spacing, or with a share of
its words taken from another text. A text goes if its cluster has an earlier one. Near duplicates are found by
25 bands of 10 rows on both sides, once with our candidates as they are (which is what both peers do), once
verified at a Jaccard index of 0.7; the hashes are each tool's own, so that chance decides near the bands'
curve: each difference is classed by the Jaccard index of the text with its nearest earlier one.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.dedup.settings import ParagraphSettings
from gristmill.dedup.split import pieces_of
from gristmill.parquet import read_parquet
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings

BANDS, ROWS, THRESHOLD, NGRAM = 25, 10, 0.7, 5
CHANGED = (
    0.0,
    0.0,
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
)  # of a copy's words; the second of 0 in other case and spacing


def with_copies(texts: Sequence[str], seed: int = 1) -> list[str]:
    """The texts, and behind them a copy of every third."""
    draw = random.Random(seed)
    copies = []
    for number, text in enumerate(texts[::3]):
        share = CHANGED[number % len(CHANGED)]
        if number % len(CHANGED) == 1:
            copies.append("  ".join(text.upper().split(" ")))
            continue
        words, others = text.split(" "), texts[(7 * number + 1) % len(texts)].split(" ")
        copies.append(" ".join(draw.choice(others) if draw.random() < share else word for word in words))
    return [*texts, *copies]


def duplicates(texts: Sequence[str], peers: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Compare by peer: `peers` are the answers of `corpora_duplicates_peers.py` by name."""
    told: dict[str, Any] = {}
    near = {
        "candidates": {"verify": "none"},
        "verified": {"verify": "jaccard", "threshold": THRESHOLD},
    }
    bands = {"bands": BANDS, "rows": ROWS, "ngram": NGRAM, "mode": "mark", "alarm_fraction": 1.0}
    fuzzy = {name: stays(texts, "fuzzy", {**bands, **own}) for name, own in near.items()}
    exact = {
        "text-dedup": ("exact_hash", {"normalise": "none"}),
        "data-juicer": ("document_deduplicator", {"normalise": "letters"}),
    }
    nearest = [_nearest(row, texts) for row in range(len(texts))] if peers else []
    for peer, answers in peers.items():
        tool, own = exact[peer]
        ours = stays(texts, "exact", {**own, "mode": "mark"})
        told[f"{peer} {tool}"] = _compare([one["exact"] for one in answers], ours, ["texts"] * len(texts))
        classes = [_class(text, score) for text, score in zip(texts, nearest, strict=True)]
        for name, mine in fuzzy.items():
            theirs = [one["minhash"] for one in answers]
            told[f"{peer} minhash, our {name}"] = _compare(theirs, mine, classes)
        if "lines" in answers[0]:
            told[f"{peer} ccnet"] = _lines(texts, [one["lines"] for one in answers])
    return told


def stays(texts: Sequence[str], kind: str, settings: dict[str, Any]) -> list[bool]:
    """Of each text, whether no earlier one is in its cluster, as the stage says."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        numbers = range(len(texts))  # an id each: equal texts without are one record to the reader
        table = pa.table({"id": [str(row) for row in numbers], "row": list(numbers), "text": list(texts)})
        pq.write_table(table, "texts.parquet")
        recipe = make_recipe(
            {
                "name": "x",
                "sources": {"x": {"inputs": "texts.parquet", "passthrough": ["row"]}},
                "dedup": {kind: settings},
            }
        )
        progress = Progress(quiet=True)
        made = run_plan(build_plan(recipe), Path("out"), EngineSettings(kind="inline"), progress).manifests
        paths = made[f"dedup-{kind}"].paths("documents")
        rows = [row for path in paths for row in read_parquet(path, ["row", "cluster_id"]).to_pylist()]
    clusters = {int(row["row"]): row["cluster_id"] for row in rows}
    seen: set[bytes] = set()
    found = []
    for number in range(len(texts)):
        cluster = clusters[number]
        found.append(cluster not in seen)
        seen.add(cluster)
    return found


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = text.lower().split()
    return frozenset(tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1))


def _nearest(row: int, texts: Sequence[str], _known: dict[int, frozenset[tuple[str, ...]]] = {}) -> float:  # noqa: B006
    """The highest Jaccard index of a text's word 5-grams with those of an earlier one."""
    for number in (row, *range(row)):
        if number not in _known:
            _known[number] = _grams(texts[number])
    own = _known[row]
    if not own:
        return -1.0
    shared = ((len(own & _known[other]), other) for other in range(row))
    return max((num / len(own | _known[other]) for num, other in shared if num), default=0.0)


def _class(text: str, score: float) -> str:
    if len(text.split()) < NGRAM:
        return "texts of under 5 words"
    if score < THRESHOLD - 0.15:
        return "alike by under 0.55"
    return "alike by 0.55 to 0.85" if score < THRESHOLD + 0.15 else "alike by over 0.85"


def _compare(theirs: Sequence[bool], ours: Sequence[bool], classes: Sequence[str]) -> dict[str, Any]:
    found = Counter[str]()
    for one, other, kind in zip(theirs, ours, classes, strict=True):
        if one is not other:
            found[f"{kind}: {'we' if one else 'they'} alone remove"] += 1
    return {
        "compared": len(theirs),
        "agree": len(theirs) - sum(found.values()),
        "classes": dict(found.most_common()),
        "removed_theirs": len(theirs) - sum(theirs),
        "removed_ours": len(ours) - sum(ours),
    }


def _lines(texts: Sequence[str], theirs: Sequence[str]) -> dict[str, Any]:
    """Of each line, whether it is cut as one that stood before, in the order of the texts."""
    seen: set[str] = set()
    compared = agree = 0
    classes = Counter[str]()
    pieces = pieces_of(ParagraphSettings(normalise="ccnet-paper"), pa.chunked_array([list(texts)]))
    for text, left, own in zip(texts, theirs, pieces, strict=True):
        rest = iter(left.split("\n"))
        kept = next(rest, None)
        for line, piece in zip(text.split("\n"), own, strict=True):
            stays_there = kept == line
            kept = next(rest, None) if stays_there else kept
            stays_here = piece.key not in seen
            seen.add(piece.key)
            compared += 1
            agree += stays_here is stays_there
            if stays_here is not stays_there:
                classes[f"{'we' if stays_there else 'they'} alone cut"] += 1
    return {"compared": compared, "agree": agree, "classes": dict(classes)}
