"""Duplicates found by the peers' own code among texts on stdin, run by `corpora.py` in an interpreter that
has it.

    PYTHON corpora_duplicates_peers.py data-juicer | text-dedup [exact] [minhash] [lines]

Input: one JSON string a line. Output: one JSON object a text: `exact`: whether it stays; `minhash`: whether
it is the first of its cluster, and `signature`: its minima of 64 bits, in base 64; `lines` (text-dedup): the
text without lines that stood before. data-juicer: its document_deduplicator (in lower case, letters alone)
and document_minhash_deduplicator; text-dedup: its tools exact_hash, minhash and ccnet. Near duplicates are of
word 5-grams, by 25 bands of 10 rows.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BANDS, ROWS, THRESHOLD, NGRAM = 25, 10, 0.7, 5
Told = dict[str, list[Any]]


def data_juicer(texts: list[str], asked: Sequence[str]) -> Told:
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_deduplicator import DocumentDeduplicator
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
    from data_juicer.utils.constant import HashKeys

    rows = NestedDataset.from_list([{"text": text, "row": row} for row, text in enumerate(texts)])
    told: Told = {}
    if "exact" in asked:
        exact = DocumentDeduplicator(lowercase=True, ignore_non_character=True)
        stays = set(exact.process(rows.map(exact.compute_hash))[0]["row"])
        told["exact"] = [row in stays for row in range(len(texts))]
    if "minhash" in asked:
        near = DocumentMinhashDeduplicator(
            window_size=NGRAM,
            num_permutations=BANDS * ROWS,
            jaccard_threshold=THRESHOLD,
            num_bands=BANDS,
            num_rows_per_band=ROWS,
        )
        hashed = rows.map(near.compute_hash)
        told["signature"] = [spell(bands) for bands in hashed[HashKeys.minhash]]
        left = set(near.process(hashed)[0]["row"])
        told["minhash"] = [row in left for row in range(len(texts))]
    return told


def text_dedup(texts: list[str], asked: Sequence[str]) -> Told:
    from datasets import Dataset, load_from_disk

    told: Told = {}
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

        if "exact" in asked:
            stays = set(run("exact_hash")["row"])
            told["exact"] = [row in stays for row in range(len(texts))]
        if "minhash" in asked:
            bands = ["--b", str(BANDS), "--r", str(ROWS), "--num_perm", str(BANDS * ROWS)]
            run("minhash", "--debug", "--ngram", str(NGRAM), "--threshold", str(THRESHOLD), *bands)
            clusters = pickle.loads((folder / "minhash" / "uf.pkl").read_bytes())
            first = [clusters.find(row) for row in range(len(texts))]
            told["minhash"] = [first.index(first[row]) == row for row in range(len(texts))]
            told["signature"] = text_dedup_signatures(texts)
        if "lines" in asked:
            cut = run("ccnet")
            lines = dict(zip(cut["row"], cut["text"], strict=True))
            told["lines"] = [lines.get(row, "") for row in range(len(texts))]
    return told


def text_dedup_signatures(texts: list[str]) -> list[str]:
    """Its embed_func with what its main hands to it by default: sha1, 64 bits, permutations of seed 42."""
    import numpy as np
    from text_dedup import minhash

    prime, num = np.uint64((1 << 61) - 1), BANDS * ROWS
    permutations = (
        minhash.RNG.randint(1, prime, size=(num,), dtype=np.uint64),
        minhash.RNG.randint(0, prime, size=(num,), dtype=np.uint64),
    )
    hashed = (
        minhash.embed_func(
            text,
            0,
            num_perm=num,
            ngram_size=NGRAM,
            min_length=5,
            hashranges=[(band * ROWS, (band + 1) * ROWS) for band in range(BANDS)],
            permutations=permutations,
            hash_func=lambda data: minhash.sha1_hash(data, d=32),
            dtype=np.uint64,
            max_hash=np.uint32((1 << 32) - 1),
            modulo_prime=prime,
        )
        for text in texts
    )
    return [spell(one[minhash.SIGNATURE_COLUMN]) for one in hashed]


def spell(bands: Sequence[bytes]) -> str:
    return base64.b64encode(b"".join(bands)).decode()


if __name__ == "__main__":
    kinds = {"data-juicer": data_juicer, "text-dedup": text_dedup}
    given = [json.loads(line) for line in sys.stdin]
    with contextlib.redirect_stdout(sys.stderr):
        answers = kinds[sys.argv[1]](given, sys.argv[2:] or ("exact", "minhash", "lines"))
    for row in range(len(given)):
        print(json.dumps({name: values[row] for name, values in answers.items()}))
