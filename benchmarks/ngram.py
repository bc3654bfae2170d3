"""N-gram models: scoring speed beside KenLM, and how alike the order of documents is that both give.

    python benchmarks/ngram.py texts.jsonl.gz [--peers PYTHON] [--quick] [--json] [--save]

The first part of the texts is counted (order 3, nothing pruned), the rest is scored. KenLM gets the same
estimate as an ARPA file, written from a plain implementation of Kneser-Ney, and runs in the interpreter named
by --peers (one that has kenlm); it is given lines of words in lower case, and its Python package scores one
line a call. MB of UTF-8 text per CPU second of one core, the median of rounds that alternate.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filters_texts import machine, plain_argument, read_texts

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram import kneser_ney
from gristmill.classifiers.ngram.perplexity import NgramModel
from gristmill.classifiers.settings import NgramSettings
from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter

RESULT = Path(__file__).parent / "results" / "ngram.json"
ORDER = 3
PEER = """
import json, sys, time, kenlm
model = kenlm.Model(sys.argv[1])
texts = json.load(open(sys.argv[2]))
model.score("probe")
began = time.process_time()
scores = [model.score(text, bos=True, eos=False) for text in texts]
print(json.dumps({"seconds": time.process_time() - began, "scores": scores}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has kenlm")
    parser.add_argument("--quick", action="store_true", help="little text, one round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save", action="store_true", help="keep the result in benchmarks/results/ngram.json"
    )
    options = parser.parse_args()
    # Both see the same words: ASCII letters and digits between blanks, in lower case. Of scripts without
    # blanks gristmill would take each character for a word.
    texts = [plain(text) for text in read_texts(options.texts)]
    texts = [text for text in texts if len(text) > 500]
    counted = within(texts, 300_000 if options.quick else 1_500_000)
    scored = within(texts[len(counted) :], 500_000 if options.quick else 8_000_000)
    with tempfile.TemporaryDirectory() as folder:
        result = compare(Path(folder), counted, scored, options.peers, 1 if options.quick else 5)
    result |= {"machine": machine(), "versions": {name: version(name) for name in ("numba", "numpy")}}
    result["command"] = " ".join(["python benchmarks/ngram.py", *map(plain_argument, sys.argv[1:])])
    for name in ("ours", "ours_backoff", "peers", "ratio", "rank_agreement", "rank_agreement_backoff"):
        print(f"{name}: {result[name]}", file=sys.stderr)
    if options.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))


def plain(text: str) -> str:
    return " ".join(re.findall("[a-z0-9]+", text.lower()))


def within(texts: list[str], characters: int) -> list[str]:
    """The first texts of that length together."""
    ends = np.cumsum([len(text) for text in texts])
    return texts[: int(np.searchsorted(ends, characters)) + 1]


def compare(folder: Path, counted: list[str], scored: list[str], peers: str, rounds: int) -> dict[str, Any]:
    models = {
        name: NgramModel(
            build(folder / name, counted, NgramSettings(order=ORDER, min_count=1, smoothing=name))
        )
        for name in ("kneser_ney", "stupid_backoff")
    }
    arpa = folder / "model.arpa"
    textbook(counted).write_arpa(arpa)
    (folder / "texts.json").write_text(json.dumps(scored))
    table = pa.table({"text": pa.array(scored, pa.large_string())})
    size = sum(len(text.encode()) for text in scored) / 1e6
    seconds: dict[str, list[float]] = {"kenlm": [], "kneser_ney": [], "stupid_backoff": []}
    bits: dict[str, np.ndarray] = {}
    theirs: list[float] = []
    for _ in range(rounds):
        for name, model in models.items():
            model.score(table.slice(0, 2))
            began = time.process_time()
            total, words = model.score(table)
            seconds[name].append(time.process_time() - began)
            bits[name] = total / words
        done = subprocess.run(
            [peers, "-c", PEER, arpa, folder / "texts.json"], capture_output=True, text=True, check=True
        )
        said = json.loads(done.stdout)
        seconds["kenlm"].append(said["seconds"])
        theirs = said["scores"]
    speeds = {name: size / float(np.median(own)) for name, own in seconds.items()}
    other = -np.array(theirs) * np.log2(10) / words
    return {
        "what": f"perplexity of documents by n-grams of order {ORDER}, from raw text",
        "unit": "MB/s per core",
        "ours": round(speeds["kneser_ney"], 1),
        "ours_backoff": round(speeds["stupid_backoff"], 1),
        "peers": {"KenLM, one line a call": round(speeds["kenlm"], 1)},
        "ratio": {"KenLM, one line a call": round(speeds["kneser_ney"] / speeds["kenlm"], 2)},
        "rank_agreement": round(spearman(bits["kneser_ney"], other), 4),
        "rank_agreement_backoff": round(spearman(bits["stupid_backoff"], other), 4),
        "ngrams": models["kneser_ney"].card["ngrams"],
        "counted_mb": round(sum(len(text.encode()) for text in counted) / 1e6, 2),
        "scored_mb": round(size, 2),
        "documents": len(scored),
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def build(folder: Path, texts: list[str], settings: NgramSettings) -> Path:
    folder.mkdir()
    rows = [
        {
            "id": document_id("bench", str(number)),
            "source": "bench",
            "text": text,
            "origin": {"file": "bench", "offset": number, "length": 1},
        }
        for number, text in enumerate(texts)
    ]
    with ParquetWriter(folder / "texts.parquet", DOCUMENT) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=DOCUMENT))
    if settings.smoothing == "stupid_backoff":
        counted = ngrams.count_file(settings, folder / "texts.parquet", folder, 1, 0.0)
        ngrams.merge_runs(settings, counted.runs, 0, 1, folder / "merged")
        ngrams.write_table(settings, [folder / "merged"], folder / "table", counted.num_words)
        return folder / "table"
    counted = kneser_ney.count_file(settings, folder / "texts.parquet", folder, 1, 0.0)
    kneser_ney.emit(counted.runs, 0, 1, settings.order, folder / "stats")
    facts = kneser_ney.join(settings, [folder / "stats"], 0, 1, folder / "joined")
    kneser_ney.write_table(settings, [folder / "joined"], folder / "table", counted.num_words, None, facts)
    return folder / "table"


def textbook(texts: list[str]) -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.support.kneser_ney_truth import KneserNey

    return KneserNey([text.split() for text in texts], ORDER)


if __name__ == "__main__":
    main()
