"""Semantic near duplicates: texts rewritten in seven ways are planted among real ones; what is found.

    python benchmarks/dedup_semantic.py texts.jsonl.gz ... [--pairs 100] [--show 20] [--save] [--json]

The ways: words replaced by near ones (a list of 70 pairs), sentences in another order, a fifth of the
sentences left out, grammatical words left out and put in, words swapped within reach of three, all of these,
and a notice of 12 facts told by another wording (both forms are planted; notices of the same wording with
other facts are no pairs). Recall is of the pairs of each way. What else was removed has no label: `--show`
prints some of it to be read. Beside it, on the same texts: MinHash with verification at 0.8 (`dedup.fuzzy`,
Dolma 3's rule) and at 0.7 (text-dedup's default), and SemDeDup's own order of cutting (a text goes when any
before it is as near, whether or not that one stays). Speeds are MB of text per CPU second, learning apart,
for its cost does not grow with the corpus.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from dedup_passages import id_of, write

from gristmill.dedup.near import semantic
from gristmill.dedup.near.cluster import cluster_bands, merge_forests, merge_tree, write_components
from gristmill.dedup.near.embedding import Model, cosines, embed_texts
from gristmill.dedup.near.fuzzy import apply_fuzzy, gather_members, map_signatures
from gristmill.dedup.near.fuzzy import verify_group as verify
from gristmill.dedup.settings.near import FuzzySettings, SemanticSettings
from gristmill.dedup.sorted.runs import key_range

RESULTS = Path(__file__).parent / "results" / "dedup_semantic.json"
NEAR = """
show demonstrate, use employ, find discover, big large, get obtain, make create, small little, fast
quick, start begin, end finish, help assist, need require, important significant, many numerous, also
additionally, but however, new novel, think believe, problem issue, result outcome, example instance,
different distinct, change modify, buy purchase, try attempt, world globe, people persons, area region,
often frequently, main principal, study research, paper article, data information, model system, give
provide, become turn, see observe, old ancient, work function, part portion, near close, property
feature, high elevated, low reduced, describe depict, increase raise, decrease lower, several various,
such similar, known recognised, present introduce, propose suggest, based founded, consider examine, good
fine, very extremely, because since, only merely, first initial, last final, year annum, city town,
country nation, group band, name title, house home, child kid, write compose, say state, ask inquire,
answer reply, tell inform, keep retain, build construct, allow permit, contain include, follow pursue
"""
PAIRS = [pair.split() for pair in " ".join(NEAR.split()).split(", ")]
WORDS = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
GRAMMAR = [
    *[
        "the", "a", "of", "to", "in", "is", "that", "and", "for", "on", "with", "as", "it", "be", "are",
        "this", "by", "an", "or", "from",
    ]
]  # fmt: skip
ONE = """
{0} of {1} is looking for a {2} in {3}. You will work with {4} and {5}, report to {6}, and earn {7} a year.
We ask for {8} years with {9} and a good command of {10}. Send your papers to {11} before the month ends.
"""
OTHER = """
Vacancy: {2} ({3}). Our company {0}, a member of {1}, offers {7} annually. Duties include {4} as well as {5};
your superior is {6}. Requirements: fluent {10}; {9} for no less than {8} years. Applications by e-mail, {11}.
"""


def swap_near(text: str, _chance: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        word = match.group().lower()
        for ending in ("", "s", "ed", "ing"):
            if word.endswith(ending) and (stem := word[: len(word) - len(ending)]) in WORDS:
                return WORDS[stem] + ending
        return match.group()

    return re.sub("[A-Za-z]+", other, text)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def reorder(text: str, chance: random.Random) -> str:
    some = sentences(text)
    return " ".join(chance.sample(some, len(some)))


def leave_out(text: str, chance: random.Random) -> str:
    return " ".join([one for one in sentences(text) if chance.random() > 0.2] or sentences(text))


def grammar(text: str, chance: random.Random) -> str:
    out: list[str] = []
    for word in text.split():
        if word.lower() not in GRAMMAR or chance.random() >= 0.4:
            out += [word, chance.choice(GRAMMAR)] if chance.random() < 0.08 else [word]
    return " ".join(out)


def swap_places(text: str, chance: random.Random) -> str:
    words = text.split()
    for place in range(0, len(words) - 3, 3):
        if chance.random() < 0.5:
            words[place], words[place + 2] = words[place + 2], words[place]
    return " ".join(words)


def everything(text: str, chance: random.Random) -> str:
    for way in (leave_out, reorder, swap_near, grammar, swap_places):
        text = way(text, chance)
    return text


WAYS: dict[str, Callable[[str, random.Random], str]] = {
    "near words": swap_near,
    "sentences reordered": reorder,
    "a fifth left out": leave_out,
    "grammatical words": grammar,
    "words swapped": swap_places,
    "all of these": everything,
}
REWORDED = "a notice reworded"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=100, help="of each way")
    parser.add_argument("--show", type=int, default=0, help="print so many removals that were not planted")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write results/dedup_semantic.json")
    arguments = parser.parse_args()
    texts: list[str] = []
    for path in arguments.texts:
        with gzip.open(path, "rt") as lines:
            texts += [text for line in lines if len((text := json.loads(line)["text"]).split()) > 60]
    result = {
        **measure(list(dict.fromkeys(texts)), arguments.pairs, arguments.show),
        "command": " ".join(
            ["python benchmarks/dedup_semantic.py", *(Path(word).name for word in sys.argv[1:])]
        ),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("numba", "numpy", "pyarrow", "scipy")},
    }
    if arguments.save:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))


def measure(texts: list[str], number: int, show: int) -> dict[str, Any]:
    corpus, pairs = plant(texts, number)
    megabytes = sum(len(text.encode()) for text in corpus) / 1e6
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gristmill-bench-") as name:
        folder = Path(name)
        shards = write(folder, corpus)
        for share in (0.3, 0.0, 0.6):
            thresholds = (0.8, 0.75, 0.85, 0.9) if share == 0.3 else (0.8,)
            found, seconds, model = run_semantic(shards, folder / f"semantic-{share}", share, thresholds)
            for threshold in thresholds:
                some = {gone: kept for gone, (kept, _cosine) in found[threshold].items()}
                rows[f"semantic {threshold}, context {share}"] = told(judge(some, pairs))
            if share == 0.3:
                speed = {"learn_seconds": seconds[0], "mb_per_s": round(megabytes / seconds[1], 1)}
                rows["SemDeDup's cut, 0.8"] = told(judge(any_before(model, corpus, 0.8), pairs))
                shown(corpus, found[0.8], pairs, show)
        for threshold in (0.8, 0.7):
            rows[f"MinHash, Jaccard {threshold}"] = told(judge(run_fuzzy(shards, folder, threshold), pairs))
    return {
        "what": "share of rewritten texts removed as copies of their originals, by way",
        "texts": {"number": len(corpus), "mb": round(megabytes, 1)},
        "pairs_of_each_way": number,
        "rows": rows,
        "semantic": speed,
    }


def told(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


Pairs = dict[tuple[int, int], str]


def plant(texts: list[str], number: int) -> tuple[list[str], Pairs]:
    chance = random.Random(3)
    order = chance.sample(range(len(texts)), number * len(WAYS))
    words = [word for text in chance.sample(texts, min(100, len(texts))) for word in text.split()]
    corpus, pairs = list(texts), {}
    for way, function in WAYS.items():
        for _ in range(number):
            original = order.pop()
            pairs[original, len(corpus)] = way
            corpus.append(function(texts[original], chance))
    for _ in range(number):
        facts = [" ".join(chance.choices(words, k=chance.randrange(1, 4))) for _ in range(12)]
        pairs[len(corpus), len(corpus) + 1] = REWORDED
        corpus += [ONE.format(*facts), OTHER.format(*facts)]
    return corpus, pairs


def judge(found: dict[int, int], pairs: Pairs) -> dict[str, Any]:
    """`found` says of each text that is removed which one it was too near to. A pair is found where one of it
    was removed for the other, or both for the same third."""
    recall: dict[str, list[bool]] = {}
    planted = set()
    for (original, copy), way in pairs.items():
        hit = found.get(original, original) == found.get(copy, copy)
        recall.setdefault(way, []).append(hit)
        planted |= {original, copy} & set(found) if hit else set()
    notices = {text for (a, b), way in pairs.items() if way == REWORDED for text in (a, b)}
    wrong = sum(gone in notices and gone not in planted for gone in found)
    return {
        "recall": {way: round(sum(hits) / len(hits), 3) for way, hits in recall.items()},
        "removed": len(found),
        "planted": len(planted),
        "notices_of_other_facts": wrong,
        "others": len(found) - len(planted) - wrong,
    }


def run_semantic(
    shards: Sequence[tuple[Path, int]], folder: Path, share: float, thresholds: Sequence[float]
) -> tuple[dict[float, dict[int, tuple[int, float]]], list[float], Model]:
    """What is removed at each threshold, the seconds of learning and of all else at the first threshold."""
    folder.mkdir()
    settings = SemanticSettings(context_share=share)
    total = sum(pa.parquet.read_metadata(path).num_rows for path, _row in shards)
    clock = [time.process_time()]
    samples = []
    for path, row in shards:
        files = semantic.map_sample(settings, path, row, folder / f"{row}.sample", total)["files"]
        samples += [folder / f"{row}.{number}" for number in range(files)]
    semantic.learn_model(settings, samples, 0, 1 << 64, folder / "model")
    clock.append(time.process_time())
    vectors = []
    for path, row in shards:
        files = semantic.map_vectors(settings, path, row, [folder / "model"], folder / f"v{row}.run")["files"]
        vectors += [folder / f"v{row}.{number}" for number in range(files)]
    places = {id_of(place): place for place in range(total)}
    found: dict[float, dict[int, tuple[int, float]]] = {}
    for threshold in thresholds:
        asked = settings.model_copy(update={"threshold": threshold})
        semantic.decide(asked, vectors, *key_range(0, 1), folder / "decisions")
        tables = [
            one.decisions
            for path, row in shards
            for one in semantic.apply_semantic(asked, path, row, [folder / "decisions"])
        ]
        clock.append(time.process_time())
        found[threshold] = {
            places[row["id"]]: (places[row["survivor_id"]], row["cosine"])
            for row in pa.concat_tables(tables).to_pylist()
            if row["id"] != row["survivor_id"]
        }
    seconds = [round(b - a, 2) for a, b in itertools.pairwise(clock)]
    return found, seconds, Model.read(folder / "model")


def any_before(model: Model, corpus: list[str], threshold: float) -> dict[int, int]:
    """SemDeDup's cut: by falling cosine with the centroid, a text goes that any before it is as near to."""
    vectors = embed_texts(model, pa.chunked_array([pa.array(corpus, pa.large_string())]))
    near = cosines(vectors, model.centroids).max(axis=1)
    order = np.lexsort((np.arange(len(near)), near))
    found = {}
    for start in range(0, len(order), 1024):
        own = order[start : start + 1024]
        similar = cosines(vectors[own], vectors[order[: start + len(own)]])
        for place, text in enumerate(own.tolist()):
            before = similar[place, : start + place]
            if len(before) and before.max() >= threshold:
                found[text] = int(order[int(before.argmax())])
    return found


def run_fuzzy(shards: Sequence[tuple[Path, int]], folder: Path, threshold: float) -> dict[int, int]:
    settings = FuzzySettings(threshold=threshold, lsh_threshold=threshold)
    folder = folder / f"fuzzy-{threshold}"
    folder.mkdir()
    bands = []
    for path, row in shards:
        bands.append(folder / f"{row}.bands")
        map_signatures(settings, path, row, bands[-1])
    count = cluster_bands(bands, *key_range(0, 1), folder / "0.forest")["files"]
    forests = [folder / f"0.{number}" for number in range(count)]
    for level, groups in enumerate(merge_tree(len(forests))):
        merged = [folder / f"{level}-{number}.merged" for number in range(len(groups))]
        for group, out in zip(groups, merged, strict=True):
            merge_forests([forests[leaf] for leaf in group], out)
        forests = merged
    groups_ = write_components(forests[0], folder / "components", settings.group_documents)["groups"]
    members = []
    for path, row in shards:
        members.append(folder / f"{row}.members")
        gather_members(settings, path, row, [folder / "components"], members[-1])
    decided = [folder / f"{group}.decisions" for group in range(groups_)]
    for group, out in enumerate(decided):
        verify(settings, members, folder / "components", group, out, folder / f"{group}.parquet")
    tables = [one.decisions for path, row in shards for one in apply_fuzzy(settings, path, row, decided)]
    rows = pa.concat_tables(tables).to_pylist()
    places = {id_of(place): place for place in range(len(rows))}
    return {places[row["id"]]: places[row["survivor_id"]] for row in rows if row["id"] != row["survivor_id"]}


def shown(corpus: list[str], found: dict[int, tuple[int, float]], pairs: Pairs, number: int) -> None:
    planted = set(pairs) | {pair[::-1] for pair in pairs}
    others = [(cosine, gone, kept) for gone, (kept, cosine) in found.items() if (gone, kept) not in planted]
    for cosine, gone, kept in sorted(others)[:: max(1, len(others) // max(number, 1))][:number]:
        print(f"{cosine:.3f}\n  {corpus[gone][:300]!r}\n  {corpus[kept][:300]!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
