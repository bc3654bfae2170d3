"""MinHash signatures by peers, for benchmarks/dedup.py: print {name: MB per CPU second} for the texts of a
JSON file."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text())
    speeds = {}
    for maker in (datatrove_spacy, datatrove_split, datasketch, rensa):
        with contextlib.suppress(ImportError):
            for name, sign in maker():
                sign(texts[0])
                began, done = time.process_time(), 0
                for text in texts:
                    sign(text)
                    done += len(text.encode())
                    if time.process_time() - began > 5:
                        break
                speeds[name] = done / 1e6 / (time.process_time() - began)
    print(json.dumps(speeds))


def datatrove(tokenizer: object, name: str) -> Iterator[tuple[str, Callable[[str], object]]]:
    """FineWeb's configuration, from raw text to the 14 x 8 signature."""
    import numpy as np
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.hashing import HashConfig, create_hash_func

    np.seterr(over="ignore")
    step = MinhashDedupSignature.__new__(MinhashDedupSignature)
    step.config = MinhashConfig(
        n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(hash_fc="sha1")
    )
    step.num_hashes, step._parameters, step.word_tokenizer = 112, None, tokenizer
    step._hash_func = create_hash_func(step.config.hash_config)

    def sign(text: str) -> object:
        shingles = step.get_shingles(text)
        return step.get_signature(shingles) if shingles.size else None

    yield name, sign


def datatrove_spacy() -> Iterator[tuple[str, Callable[[str], object]]]:
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    tokenizer = load_word_tokenizer("eng")
    tokenizer.word_tokenize("probe")
    yield from datatrove(tokenizer, "datatrove, K = 112, spaCy words (its default)")


def datatrove_split() -> Iterator[tuple[str, Callable[[str], object]]]:
    class Split:
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

    yield from datatrove(Split(), "datatrove, K = 112, words split at blanks")


def grams(text: str) -> list[bytes]:
    words = text.lower().split()
    return [" ".join(words[i : i + 5]).encode() for i in range(max(1, len(words) - 4))]


def datasketch() -> Iterator[tuple[str, Callable[[str], object]]]:
    from datasketch import MinHash

    def sign(text: str) -> object:
        minhash = MinHash(num_perm=286)
        minhash.update_batch(grams(text))
        return minhash

    yield "datasketch, K = 286", sign


def rensa() -> Iterator[tuple[str, Callable[[str], object]]]:
    from rensa import RMinHash

    def sign(text: str) -> object:
        minhash = RMinHash(num_perm=286, seed=42)
        minhash.update([gram.decode() for gram in grams(text)])
        return minhash.digest()

    yield "rensa (R-MinHash), K = 286", sign


if __name__ == "__main__":
    main()
