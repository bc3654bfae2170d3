"""Agreement with the originals: their own code and ours on the same pages, decision by decision, each
disagreement classed.

    python benchmarks/corpora.py texts.jsonl.gz ... [--fineweb PYTHON] [--spacy PYTHON]
        [--redpajama PYTHON FOLDER] [--cc-net PYTHON FOLDER] [--dolma PYTHON] [--data-juicer PYTHON]
        [--text-dedup PYTHON] [--answers FOLDER] [--limit N] [--quick] [--table] [--json] [--save]

Each comparison is of the texts as they are and, where the two read other words in them, of texts in which
both read the same (`corpora_same.py`), or with the peer's hash functions: what differs then is in the rules.
`--table` prints the kept result as docs/corpora.md has it. `--answers` keeps what originals said and asks
them no second time.

Texts are the `text` or `gold_text` of each row. `--fineweb` names an interpreter that has datatrove and
gristmill, `--spacy` one with spaCy too, for datatrove's words as they are; `--redpajama` one with numpy and
nltk, and app/src of a checkout of togethercomputer/RedPajama-Data; `--cc-net` any, and a checkout of
facebookresearch/cc_net; `--dolma` one with `pip install dolma[code]`; `--data-juicer` one with
py-data-juicer, without its dependencies but for those that the named operators import; `--text-dedup` one
with text-dedup. What is not named is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpora_duplicates import duplicates, with_copies
from corpora_operators import data_juicer_decisions, dolma_decisions, words_of_names
from corpora_same import named_words, of_plain_characters
from corpora_signals import (
    compare_ccnet,
    compare_dolma,
    compare_fineweb,
    compare_importance,
    compare_redpajama,
    write_counts,
)
from corpora_table import share, table
from filters_texts import machine, plain_argument, read_texts

from gristmill.filters.published.python_hash import SEED

RESULT = Path(__file__).parent / "results" / "corpora.json"
PEER = Path(__file__).with_name("corpora_peers.py")
DUPLICATES = Path(__file__).with_name("corpora_duplicates_peers.py")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--fineweb", default=None)
    parser.add_argument("--spacy", default=None)
    parser.add_argument("--redpajama", nargs=2, default=None)
    parser.add_argument("--cc-net", nargs=2, default=None)
    parser.add_argument("--dolma", default=None)
    parser.add_argument("--data-juicer", default=None)
    parser.add_argument("--text-dedup", default=None)
    parser.add_argument("--answers", type=Path, default=None)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="100 texts")
    parser.add_argument("--table", action="store_true", help="print the kept result, run nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table(json.loads(RESULT.read_text())["details"])))
        return
    texts = list(read_texts(arguments.texts))[: 100 if arguments.quick else arguments.limit]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    found = compare(texts, arguments)
    for name, told in found.items():
        print(f"{name}: {json.dumps(told)}", file=sys.stderr)
    said = " ".join(map(plain_argument, sys.argv[1:]))
    report: dict[str, Any] = {
        "what": "agreement with the originals' own code on the same texts",
        "unit": "share of decisions or values that are the same",
        "ours": {"texts": len(texts)},
        "peers": {name: share(told) for name, told in found.items()},
        "ratio": {},
        "details": found,
        "commands": dict.fromkeys(found, f"python benchmarks/corpora.py {said}"),
        "machine": machine(),
        "versions": {name: version(name) for name in ("datatrove", "numpy", "pyarrow")},
    }
    if arguments.save:
        before = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        for key in ("peers", "details", "commands"):  # of originals that were not run this time
            report[key] = {**before.get(key, {}), **report[key]}
        RESULT.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(report))


def compare(texts: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    def ask(texts: Sequence[str], python: str, *words: str, peer: Path = PEER) -> tuple[list[Any], float]:
        return kept_answer(arguments.answers, texts, python, *words, peer=peer)

    found: dict[str, Any] = {}
    if arguments.fineweb:
        found["fineweb"] = compare_fineweb(texts, ask(texts, arguments.fineweb, "fineweb"))
    if arguments.spacy:
        found["fineweb"] = {
            **compare_fineweb(texts, ask(texts, arguments.spacy, "fineweb", "spacy")),
            **({"same_words": found["fineweb"]} if arguments.fineweb else {}),
        }
    if arguments.redpajama:
        python, folder = arguments.redpajama
        found["redpajama-v2"] = compare_redpajama(texts, ask(texts, python, "redpajama", folder))
        plain = of_plain_characters(texts)
        found["redpajama-v2"]["same_words"] = compare_redpajama(
            plain, ask(plain, python, "redpajama", folder)
        )
        with tempfile.TemporaryDirectory() as counts:
            for name, given in {"as it is": texts, "same_words": plain}.items():
                places = write_counts(given, Path(counts))
                told = compare_importance(given, ask(given, python, "importance", folder, counts), places)
                found.setdefault("redpajama-v2 importance", {}).update(
                    told if name == "as it is" else {name: told}
                )
    if arguments.cc_net:
        python, folder = arguments.cc_net
        found["ccnet"] = compare_ccnet(texts, ask(texts, python, "ccnet", folder))
    if arguments.dolma:
        tagged, seconds = ask(texts, arguments.dolma, "dolma")
        found["dolma"] = {**compare_dolma(texts, tagged), "seconds": {"theirs": round(seconds, 1)}}
        found |= dolma_decisions(texts, tagged)
    if arguments.data_juicer:
        found |= data_juicer_decisions(texts, ask(texts, arguments.data_juicer, "data-juicer")[0])
        named = named_words(texts)
        found["data-juicer words_num_filter"]["same_words"] = words_of_names(
            named, ask(named, arguments.data_juicer, "data-juicer")[0]
        )
    judges = {"data-juicer": arguments.data_juicer, "text-dedup": arguments.text_dedup}
    peers = {
        name: lambda given, asked, name=name, python=python: ask(
            given, python, name, *asked.split(), peer=DUPLICATES
        )[0]
        for name, python in judges.items()
        if python
    }
    return found | (duplicates(with_copies(texts), peers) if peers else {})


def kept_answer(
    folder: Path | None, texts: Sequence[str], python: str, *words: str, peer: Path
) -> tuple[list[Any], float]:
    """Ask a peer, or read what it said of these texts before."""
    if folder is None:
        return ask(texts, python, *words, peer=peer)
    asked = hashlib.sha256(json.dumps([list(texts), words, peer.read_text()]).encode()).hexdigest()
    path = folder / f"{words[0]}-{asked[:16]}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(ask(texts, python, *words, peer=peer)))
    answers, seconds = json.loads(path.read_text())
    return answers, seconds


def ask(texts: Sequence[str], python: str, *words: str, peer: Path = PEER) -> tuple[list[Any], float]:
    """Have a peer's code judge the texts; return its answers and the seconds it took, start included."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(Path(python).absolute()), str(peer), *words],
        input="".join(json.dumps(text) + "\n" for text in texts),
        capture_output=True,
        text=True,
        check=False,
        cwd=PEER.parent,
        env=os.environ | {"PYTHONHASHSEED": str(SEED)},  # as RedPajama's app/Dockerfile sets it
    )
    if done.returncode:
        sys.exit(f"{words[0]}: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()], time.perf_counter() - began


if __name__ == "__main__":
    main()
