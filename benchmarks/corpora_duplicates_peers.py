"""Duplicates found by the peers' own code among texts on stdin, run by `corpora.py` in an interpreter that
has it.

    PYTHON corpora_duplicates_peers.py data-juicer | text-dedup

Input: one JSON string a line. Output: one JSON value a text: {"exact": whether it stays, "minhash": whether
it is the first of its cluster}, and of text-dedup `lines`: the text without lines that stood before.
data-juicer: its document_deduplicator (in lower case, letters alone) and document_minhash_deduplicator;
text-dedup: its tools exact_hash, minhash and ccnet. Near duplicates are of word 5-grams, by 25 bands of 10
rows.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BANDS, ROWS, THRESHOLD, NGRAM = 25, 10, 0.7, 5


def data_juicer(texts: list[str]) -> list[dict[str, Any]]:
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_deduplicator import DocumentDeduplicator
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator

    rows = NestedDataset.from_list([{"text": text, "row": row} for row, text in enumerate(texts)])
    exact = DocumentDeduplicator(lowercase=True, ignore_non_character=True)
    stays = set(exact.process(rows.map(exact.compute_hash))[0]["row"])
    near = DocumentMinhashDeduplicator(
        window_size=NGRAM,
        num_permutations=BANDS * ROWS,
        jaccard_threshold=THRESHOLD,
        num_bands=BANDS,
        num_rows_per_band=ROWS,
    )
    left = set(near.process(rows.map(near.compute_hash))[0]["row"])
    return [{"exact": row in stays, "minhash": row in left} for row in range(len(texts))]


def text_dedup(texts: list[str]) -> list[dict[str, Any]]:
    from datasets import Dataset, load_from_disk

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = Dataset.from_list([{"text": text, "row": row} for row, text in enumerate(texts)])
        rows.save_to_disk(str(folder / "in"))

        def run(tool: str, *options: str) -> Any:
            command = [sys.executable, "-m", f"text_dedup.{tool}", "--path", str(folder / "in"), "--local"]
            command += ["--column", "text", "--output", str(folder / tool), "--num_proc", "1", *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{tool}: {done.stderr[-2000:]}")
            return load_from_disk(str(folder / tool))

        stays = set(run("exact_hash")["row"])
        bands = ["--b", str(BANDS), "--r", str(ROWS), "--num_perm", str(BANDS * ROWS)]
        run("minhash", "--debug", "--ngram", str(NGRAM), "--threshold", str(THRESHOLD), *bands)
        clusters = pickle.loads((folder / "minhash" / "uf.pkl").read_bytes())
        first = [clusters.find(row) for row in range(len(texts))]
        cut = run("ccnet")
        lines = dict(zip(cut["row"], cut["text"], strict=True))
    return [
        {"exact": row in stays, "minhash": first.index(first[row]) == row, "lines": lines.get(row, "")}
        for row in range(len(texts))
    ]


if __name__ == "__main__":
    kinds = {"data-juicer": data_juicer, "text-dedup": text_dedup}
    given = [json.loads(line) for line in sys.stdin]
    with contextlib.redirect_stdout(sys.stderr):
        answers = kinds[sys.argv[1]](given)
    for answer in answers:
        print(json.dumps(answer))
