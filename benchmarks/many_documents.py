"""A whole recipe of plain texts on the cores of a machine: seconds from `gristmill run` to its end.

    python benchmarks/many_documents.py texts.jsonl.gz ... [--documents 500000] [--workers 2] [--quick]
        [--json] [--save]

Documents are those of `benchmarks/stages.py`; when the texts run out they are taken again with the words of
each line in another order, but for its last: so that they are nobody's duplicates, and filters keep as many
(.604 of them for .608).
They lie in files of 100 MB of JSON lines. The recipe is that of the bench, filter to mixed shards. Beside it
stands what SentencePiece's own processor would take for the texts that came in, of which it is given a part,
in the same run; the ratio counts every core for the whole time.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filters_texts import machine, plain_argument
from stages import WHOLE, pieces

RESULT = Path(__file__).parent / "results" / "many_documents.json"
FILE_BYTES = 100_000_000
BARE_BYTES = 10_000_000


def documents(paths: list[Path], count: int) -> Iterator[str]:
    """So many texts, those of later rounds with the words of each line but the last shuffled."""
    texts = list(pieces(paths, random.Random(7)))
    random.Random(11).shuffle(texts)
    for number in range(count):
        turn, place = divmod(number, len(texts))
        yield shuffled(texts[place], random.Random(number)) if turn else texts[place]


def shuffled(text: str, draw: random.Random) -> str:
    lines = []
    for line in text.split("\n"):
        *words, last = line.split(" ")  # ends of sentences are what filters look for
        draw.shuffle(words)
        lines.append(" ".join([*words, last]))
    return "\n".join(lines)


def write(texts: Iterator[str], folder: Path) -> int:
    """Write files of JSON lines; return the bytes of text."""
    size = part = 0
    file = (folder / "docs-000.jsonl").open("w")
    for number, text in enumerate(texts):
        if size >= (part + 1) * FILE_BYTES:
            part += 1
            file.close()
            file = (folder / f"docs-{part:03d}.jsonl").open("w")
        url = f"https://www.site{number % 977}.example.org/page/{number}"
        file.write(json.dumps({"id": f"d{number}", "url": url, "text": text}, ensure_ascii=False) + "\n")
        size += len(text.encode())
    file.close()
    return size


def run(folder: Path, out: Path, workers: int, sections: dict[str, Any]) -> float:
    """Run the recipe by the command line; seconds of the clock."""
    recipe = out.with_suffix(".yaml")
    source = {"inputs": [str(folder / "*.jsonl")]}
    recipe.write_text(yaml.safe_dump({"name": "many", "sources": {"web": source}, **sections}))
    command = [sys.executable, "-m", "gristmill.pipeline.cli", "run", str(recipe), "--out", str(out)]
    began = time.perf_counter()
    subprocess.run([*command, "--quiet", "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def bare_seconds(out: Path, folder: Path, size: int) -> float:
    """What the trained model's own processor would take for all texts, by a part of them."""
    import sentencepiece

    (model,) = out.glob("steps/tokenizer-*/tokenizer.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    texts, seen = [], 0
    with (folder / "docs-000.jsonl").open() as lines:
        for line in lines:
            texts.append(json.loads(line)["text"])
            seen += len(texts[-1].encode())
            if seen >= BARE_BYTES:
                break
    began = time.process_time()
    for text in texts:
        processor.encode(text)
    return (time.process_time() - began) * size / seen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--documents", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="5,000 documents")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="many-"))
    try:
        count = 5000 if options.quick else options.documents
        sections = {**WHOLE, "tokenizer": {"vocab_size": 2000}} if options.quick else WHOLE
        (folder / "in").mkdir()
        size = write(documents(options.texts, count), folder / "in")
        ours = run(folder / "in", folder / "out", options.workers, sections)
        bare = bare_seconds(folder / "out", folder / "in", size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "what": "a whole recipe of plain texts, from JSON lines to mixed shards",
        "unit": "seconds",
        "ours": round(ours, 1),
        "peers": {"SentencePieceProcessor.encode, one core": round(bare, 1)},
        "ratio": {"core seconds": round(options.workers * ours / bare, 2)},
        "documents": count,
        "text_bytes": size,
        "workers": options.workers,
        "machine": machine().replace("one core of ", f"{options.workers} cores of "),
        "versions": {name: version(name) for name in ("pyarrow", "numba", "ray", "sentencepiece")},
        "command": " ".join(["python benchmarks/many_documents.py", *map(plain_argument, sys.argv[1:])]),
    }
    if options.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
