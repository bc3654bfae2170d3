"""Duplicates that data-juicer and text-dedup find by their own code, beside ours, on the same texts with made
copies among them.

`corpora.py` runs it. Every third text comes again: as it is, in other case and spacing, or with a share of
its words taken from another text. A text goes if its cluster has an earlier one. Near duplicates are found by
25 bands of 10 rows on both sides, unverified, as both peers do. Three times: on the texts as they are; on the
names of their words, where only the hash functions differ, so that chance decides near the bands' curve (told
beside it: ours with another seed against ours); and on these with the peer's signatures in place of ours,
where nothing may differ. Differences are classed by the Jaccard index of the text with its nearest earlier
one, and lines by what the two keys of a line do otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import random
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpora_same import by_keys, named_words, signatures_of

from gristmill.dedup.below.split import pieces_of
from gristmill.dedup.settings.parts import ParagraphSettings
from gristmill.files.parquet import read_parquet
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.text.normal import normal_form, without_accents, words_only

BANDS, ROWS, NGRAM = 25, 10, 5
BAND_SETTINGS = {
    "bands": BANDS,
    "rows": ROWS,
    "ngram": NGRAM,
    "mode": "mark",
    "alarm_fraction": 1.0,
    "verify": "none",
}
LINES = ParagraphSettings(normalise="ccnet-paper")
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


Ask = Callable[[Sequence[str], str], list[dict[str, Any]]]  # texts, what is asked of them: answers


def duplicates(texts: Sequence[str], peers: Mapping[str, Ask]) -> dict[str, Any]:
    """Compare by peer: each asks `corpora_duplicates_peers.py`."""
    told: dict[str, Any] = {}
    exact = {
        "text-dedup": ("exact_hash", {"normalise": "none"}),
        "data-juicer": ("document_deduplicator", {"normalise": "letters"}),
    }
    named = named_words(texts)
    sizes = [text.count(" ") + 1 for text in named]
    ours = {name: stays(given, "fuzzy", BAND_SETTINGS) for name, given in (("as", texts), ("same", named))}
    again = stays(named, "fuzzy", {**BAND_SETTINGS, "seed": 2})
    kinds = {
        name: [_class(size, score) for size, score in zip(sizes, nearest(given), strict=True)]
        for name, given in (("as", texts), ("same", named))
    }
    for peer, ask in peers.items():
        tool, own = exact[peer]
        asked = ask(texts, "exact minhash lines" if peer == "text-dedup" else "exact minhash")
        mine = stays(texts, "exact", {**own, "mode": "mark"})
        told[f"{peer} {tool}"] = _compare([one["exact"] for one in asked], mine, ["texts"] * len(texts))
        same = ask(named, "minhash")
        theirs = [one["minhash"] for one in same]
        told[f"{peer} minhash"] = {
            **_compare([one["minhash"] for one in asked], ours["as"], kinds["as"]),
            "same_words": {
                **_compare(theirs, ours["same"], kinds["same"]),
                "by_another_seed_of_ours": sum(
                    one is other for one, other in zip(again, ours["same"], strict=True)
                ),
            },
            "same_hashes": _compare(theirs, _with_signatures(named, same), kinds["same"]),
        }
        if "lines" in asked[0]:
            keys = by_keys(texts, LINES)
            told[f"{peer} ccnet"] = {
                **cut_lines(texts, [one["lines"] for one in asked]),
                "same_words": cut_lines(keys, [one["lines"] for one in ask(keys, "lines")]),
            }
    return told


def _with_signatures(texts: Sequence[str], told: Sequence[Mapping[str, str]]) -> list[bool]:
    matrix = np.array([np.frombuffer(base64.b64decode(one["signature"]), ">u8") for one in told], np.uint64)
    with signatures_of(texts, matrix):
        return stays(texts, "fuzzy", {**BAND_SETTINGS, "scheme": "fineweb"})


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


def nearest(texts: Sequence[str]) -> list[float]:
    """The highest Jaccard index of each text's word 5-grams with those of an earlier one; -1 of a text with
    fewer words."""
    sets = [_grams(text) for text in texts]
    found = []
    for row, own in enumerate(sets):
        shared = ((len(own & other), len(own | other)) for other in sets[:row])
        best = max((num / whole for num, whole in shared if num), default=0.0)
        found.append(best if own else -1.0)
    return found


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = text.lower().split()
    return frozenset(tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1))


def _class(num_words: int, score: float) -> str:
    if num_words < NGRAM or score < 0:
        return "texts of under 5 words"
    for edge, name in ((0.4, "under 0.4"), (0.9, "0.4 to 0.9, where chance decides"), (1, "0.9 and more")):
        if score < edge:
            return f"alike by {name}"
    return "the same words"


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


def cut_lines(texts: Sequence[str], theirs: Sequence[str]) -> dict[str, Any]:
    """Of each line, whether it is cut as one that stood before, in the order of the texts."""
    seen: dict[str, set[str]] = {"ours": set(), **{name: set() for name in _PLAINER}}
    compared = agree = 0
    classes = Counter[str]()
    pieces = pieces_of(LINES, pa.chunked_array([list(texts)]))
    for text, left, own in zip(texts, theirs, pieces, strict=True):
        rest = iter(left.split("\n") if left else ())  # a text of which nothing is left is dropped there
        kept = next(rest, None)
        for line, piece in zip(text.split("\n"), own, strict=True):
            cut_there = kept != line
            kept = kept if cut_there else next(rest, None)
            keys = {"ours": piece.key, **{name: key(line) for name, key in _PLAINER.items()}}
            cut = {name: key in seen[name] for name, key in keys.items()}
            for name, key in keys.items():
                seen[name].add(key)
            compared += 1
            agree += cut["ours"] is cut_there
            if cut["ours"] is not cut_there:
                found = [name for name in _PLAINER if cut[name] is cut_there]
                causes = [name for name in found if " and " not in name] or found[:1] or ["another"]
                classes[f"{'they' if cut_there else 'we'} alone cut: {' or '.join(causes)}"] += 1
    return {"compared": compared, "agree": agree, "classes": dict(classes.most_common())}


def _key(line: str, *, accents: bool, blanks: bool, marks: bool) -> str:
    """Our key of a paragraph, but that it keeps accents, blanks within, or marks of letters as they are."""
    plain = line.strip().lower()
    plain = plain if accents else without_accents(normal_form(plain, "NFD"))
    plain = re.sub(r"\d", "0", plain)
    plain = words_only(plain, "") if marks else "".join(filter(_is_no_symbol, plain))
    return plain if blanks else " ".join(plain.split())


def _is_no_symbol(char: str) -> bool:
    return unicodedata.category(char)[0] not in "PSC"


# Keys that differ from ours in one thing or more, as theirs do: which of them decides as was decided there
# says what makes the difference.
_PLAINER: dict[str, Callable[[str], str]] = {
    "accents fold": partial(_key, accents=True, blanks=False, marks=True),
    "a run of white space is one blank": partial(_key, accents=False, blanks=True, marks=True),
    "other symbols go": partial(_key, accents=False, blanks=False, marks=False),
    "accents fold and white space is one blank": partial(_key, accents=True, blanks=True, marks=True),
    "all of these and other symbols": partial(_key, accents=True, blanks=True, marks=False),
}
