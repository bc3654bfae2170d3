"""Agreement with the originals: their own code and ours on the same pages, decision by decision, each
disagreement classed.

    python benchmarks/corpora.py texts.jsonl.gz ... [--fineweb PYTHON] [--redpajama PYTHON FOLDER]
        [--cc-net PYTHON FOLDER] [--dolma PYTHON] [--data-juicer PYTHON] [--text-dedup PYTHON]
        [--limit N] [--quick] [--json] [--save]

Texts are the `text` or `gold_text` of each row. `--fineweb` names an interpreter that has datatrove and
gristmill; `--redpajama` one with numpy and nltk, and app/src of a checkout of
togethercomputer/RedPajama-Data; `--cc-net` any, and a checkout of facebookresearch/cc_net; `--dolma` one
with `pip install dolma[code]`; `--data-juicer` one with py-data-juicer, without its dependencies but for
those that the named operators import; `--text-dedup` one with text-dedup. What is not named is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpora_duplicates import duplicates, with_copies
from corpora_operators import data_juicer_decisions, dolma_decisions
from filters_texts import documents, machine, plain_argument, read_texts

from gristmill.dedup.split import ccnet_key
from gristmill.filters.block import Batch
from gristmill.filters.passes import compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.redpajama import measure_redpajama, normalise
from gristmill.filters.settings import FilterSettings
from gristmill.filters.source_code import code_reference, copyright_chars

RESULT = Path(__file__).parent / "results" / "corpora.json"
PEER = Path(__file__).with_name("corpora_peers.py")
DUPLICATES = Path(__file__).with_name("corpora_duplicates_peers.py")
DIGITS = 8  # RedPajama's PRECISION


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--fineweb", default=None)
    parser.add_argument("--redpajama", nargs=2, default=None)
    parser.add_argument("--cc-net", nargs=2, default=None)
    parser.add_argument("--dolma", default=None)
    parser.add_argument("--data-juicer", default=None)
    parser.add_argument("--text-dedup", default=None)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="100 texts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    arguments = parser.parse_args()
    texts = list(read_texts(arguments.texts))[: 100 if arguments.quick else arguments.limit]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    found: dict[str, Any] = {}
    if arguments.fineweb:
        found["fineweb"] = compare_fineweb(texts, arguments.fineweb)
    if arguments.redpajama:
        found["redpajama-v2"] = compare_redpajama(texts, *arguments.redpajama)
    if arguments.cc_net:
        found["ccnet"] = compare_ccnet(texts, *arguments.cc_net)
    if arguments.dolma:
        tagged, seconds = ask(texts, arguments.dolma, "dolma")
        found["dolma"] = {**compare_dolma(texts, tagged), "seconds": {"theirs": round(seconds, 1)}}
        found |= dolma_decisions(texts, tagged)
    if arguments.data_juicer:
        found |= data_juicer_decisions(texts, ask(texts, arguments.data_juicer, "data-juicer")[0])
    copied = with_copies(texts)
    judges = {"data-juicer": arguments.data_juicer, "text-dedup": arguments.text_dedup}
    answers = {
        name: ask(copied, python, name, peer=DUPLICATES)[0] for name, python in judges.items() if python
    }
    found |= duplicates(copied, answers) if answers else {}
    for name, told in found.items():
        print(f"{name}: {json.dumps(told)}", file=sys.stderr)
    agreed = {name: told["agree"] / told["compared"] for name, told in found.items() if told["compared"]}
    said = " ".join(map(plain_argument, sys.argv[1:]))
    report: dict[str, Any] = {
        "what": "agreement with the originals' own code on the same texts",
        "unit": "share of decisions or values that are the same",
        "ours": {"texts": len(texts)},
        "peers": agreed,
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
    )
    if done.returncode:
        sys.exit(f"{words[0]}: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()], time.perf_counter() - began


def compare_fineweb(texts: Sequence[str], python: str) -> dict[str, Any]:
    """Decisions of all four filters in a row, and texts where both keep."""
    theirs, seconds = ask(texts, python, "fineweb")
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


def compare_redpajama(texts: Sequence[str], python: str, folder: str) -> dict[str, Any]:
    """Values of every signal that both have; those by line are summed as ours are."""
    theirs, seconds = ask(texts, python, "redpajama", folder)
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


def compare_ccnet(texts: Sequence[str], python: str, folder: str) -> dict[str, Any]:
    """The keys by which paragraphs are compared."""
    theirs, seconds = ask(texts, python, "ccnet", folder)
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


if __name__ == "__main__":
    main()
