"""Topics: how fast they are told beside scikit-learn, and how stable both are over seeds.

    python benchmarks/topics.py texts.jsonl.gz ... [--mixed FILE ...] [--topics auto] [--quick] [--json]
        [--save]

scikit-learn does the same by its own means: TfidfVectorizer (words of letters and digits, the same bounds on
documents), TruncatedSVD of 64 dimensions, KMeans from random points, the best of 25. Telling: MB of UTF-8
text per CPU second of one core, from strings to topics, the median of rounds that alternate; strings lie in
Arrow for us, in a list for the peer. Stability: the adjusted Rand index of three seeds on the same documents,
the least of pairs; of documents, that of all texts with a model that learned from 70 % of them. Purity: of
the texts whose topic is their file's, the share in a topic that is mostly of their own file; files of many
topics are named by `--mixed`. `--topics auto` takes the number that `topics` finds for the first seed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filters_texts import machine, plain_argument, read_texts
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from gristmill.classifiers.topics import learning as topics
from gristmill.classifiers.topics.settings import TopicSettings
from gristmill.document import document_id

RESULT = Path(__file__).parent / "results" / "topics.json"
SEEDS = (1, 2, 3)
FEWER = 0.7  # of the documents, for a model that knows less


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--mixed", nargs="*", type=Path, default=[], help="files of many topics")
    parser.add_argument("--topics", default="auto")
    parser.add_argument("--quick", action="store_true", help="2,000 texts, one round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results/")
    options = parser.parse_args()
    if not options.texts:
        parser.error("name files of JSON lines with a `text`")
    number = "auto" if options.topics == "auto" else int(options.topics)
    settings = TopicSettings(number=number)
    texts, kinds = read_kinds(options.texts, options.mixed, settings.window_chars)
    step = max(1, len(texts) // 2000) if options.quick else 1
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        result = compare(Path(folder), texts[::step], kinds[::step], settings, 1 if options.quick else 5)
    named = ("numba", "numpy", "scipy", "scikit-learn")
    result |= {"machine": machine(), "versions": {name: version(name) for name in named}}
    result["command"] = " ".join(["python benchmarks/topics.py", *map(plain_argument, sys.argv[1:])])
    for name in ("ours", "peers", "ratio", "stability", "purity"):
        print(f"{name}: {result[name]}", file=sys.stderr)
    if options.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))


def read_kinds(paths: list[Path], mixed: list[Path], window: int) -> tuple[list[str], list[str | None]]:
    """The beginnings of all texts, and the file that each is from; None for a file of many topics."""
    found: list[tuple[str, str | None]] = []
    for path in [*paths, *mixed]:
        kind = None if path in mixed else path.name
        found += [(text[:window], kind) for text in read_texts([path])]
    return [text for text, _ in found], [kind for _, kind in found]


def compare(
    folder: Path, texts: list[str], kinds: list[str | None], settings: TopicSettings, rounds: int
) -> dict[str, Any]:
    columns = {
        "id": pa.array([document_id("bench", str(n)) for n in range(len(texts))], pa.binary(16)),
        "text": pa.array(texts, pa.large_string()),
    }
    sample = pa.table(columns)
    told, theirs, tried = {}, {}, None
    for seed in SEEDS:
        card = topics.learn(settings, sample, folder / str(seed), seed)
        if settings.number == "auto":
            tried = card["stability_by_number"]
            settings = settings.model_copy(update={"number": len(card["topics"])})
        ours = topics.open_topics(settings, folder / str(seed))
        told[seed] = ours.assign(sample["text"])[0]
        peer = learn_peer(texts, settings, seed)
        theirs[seed] = peer(texts)
    some = np.random.default_rng(1).random(len(texts)) < FEWER
    topics.learn(settings, sample.filter(pa.array(some)), folder / "fewer", SEEDS[-1] + 1)
    fewer = topics.open_topics(settings, folder / "fewer").assign(sample["text"])[0]
    num_bytes = sum(len(text.encode()) for text in texts)
    seconds: dict[str, list[float]] = {"ours": [], "scikit-learn": []}
    for _ in range(rounds):
        seconds["ours"].append(timed(lambda: ours.assign(sample["text"])))
        seconds["scikit-learn"].append(timed(lambda: peer(texts)))
    speed = {name: num_bytes / 1e6 / statistics.median(each) for name, each in seconds.items()}
    return {
        "what": f"telling {settings.number} topics of {len(texts):,} texts, from text to topic",
        "unit": "MB/s of one core",
        "ours": round(speed["ours"], 1),
        "peers": {"scikit-learn": round(speed["scikit-learn"], 1)},
        "ratio": {"scikit-learn": round(speed["ours"] / speed["scikit-learn"], 2)},
        "stability": {
            "ours": least(told),
            "scikit-learn": least(theirs),
            "pairs": {"ours": pairs(told), "scikit-learn": pairs(theirs)},
            "ours_learned_from_70_percent": rand(told[SEEDS[0]], fewer),
            "ours_by_number_of_topics": tried,
        },
        "purity": {"ours": purity(told[SEEDS[0]], kinds), "scikit-learn": purity(theirs[SEEDS[0]], kinds)},
        "texts_of_known_topic": sum(kind is not None for kind in kinds),
        "megabytes": round(num_bytes / 1e6, 1),
    }


def purity(told: Any, kinds: list[str | None]) -> float | None:
    """Of texts of known topic, the share in a topic most of whose known texts are of the same file."""
    tables: dict[int, Counter[str]] = {}
    for number, kind in zip(told, kinds, strict=True):
        if kind is not None:
            tables.setdefault(int(number), Counter())[kind] += 1
    known = sum(table.total() for table in tables.values())
    return round(sum(max(table.values()) for table in tables.values()) / known, 4) if known else None


def learn_peer(texts: list[str], settings: TopicSettings, seed: int) -> Callable[[list[str]], Any]:
    vectorizer = TfidfVectorizer(
        token_pattern=r"(?u)\w+",
        sublinear_tf=True,
        min_df=settings.min_documents,
        max_df=settings.max_fraction,
        max_features=1 << 16,
        dtype=np.float32,
    )
    svd = TruncatedSVD(settings.dimensions, random_state=seed)
    points = normalize(svd.fit_transform(vectorizer.fit_transform(texts)))
    means = KMeans(settings.number, n_init=25, init="random", random_state=seed).fit(points)
    return lambda new: means.predict(normalize(svd.transform(vectorizer.transform(new))))


def rand(one: Any, other: Any) -> float:
    return round(float(adjusted_rand_score(one, other)), 4)


def pairs(told: dict[int, Any]) -> list[float]:
    return [rand(one, other) for one, other in itertools.combinations(told.values(), 2)]


def least(told: dict[int, Any]) -> float:
    return min(pairs(told))


def timed(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
