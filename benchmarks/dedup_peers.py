"""MinHash signatures by peers, for benchmarks/dedup.py: print {whole: {name: MB per CPU second}, signature:
{...}} for the texts of a JSON file.

`whole` begins with raw text, words split at blanks in Python where the library leaves that to its user.
`signature` is given the n-grams, as bytes, made before the clock starts. Each peer runs with its own fastest
calls: in bulk where it has such, and with a fast hash where it lets one choose.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"
NUM_HASHES, SEED = 286, 42
SECONDS, BATCH = 4.0, 64
Work = Callable[[list[Any]], object]
Peer = tuple[str, Work]


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text())
    sizes = [len(text.encode()) for text in texts]
    found: dict[str, dict[str, float]] = {"whole": {}, "signature": {}}
    for maker in (datatrove, datasketch, rensa, splitting):
        with contextlib.suppress(ImportError):
            for name, work in maker():
                found["whole"][name] = speed(work, texts, sizes)
    given = [grams(text) for text in texts]
    for maker in (datasketch_given, rensa_given):
        with contextlib.suppress(ImportError):
            for name, work in maker():
                found["signature"][name] = speed(work, given, sizes, len(given))
    print(json.dumps(found))


def speed(work: Work, items: Sequence[Any], sizes: Sequence[int], batch: int = BATCH) -> float:
    """MB of text per CPU second, in batches, over some seconds or all of them."""
    work(list(items[:2]))
    began, done = time.process_time(), 0
    for start in range(0, len(items), batch):
        work(list(items[start : start + batch]))
        done += sum(sizes[start : start + batch])
        if time.process_time() - began > SECONDS:
            break
    return done / 1e6 / (time.process_time() - began)


def grams(text: str) -> list[bytes]:
    words = text.lower().split()
    return [" ".join(words[i : i + 5]).encode() for i in range(max(1, len(words) - 4))]


def splitting() -> Iterator[Peer]:
    yield "word 5-grams in Python alone, no signature", lambda texts: [grams(text) for text in texts]


def datatrove() -> Iterator[Peer]:
    """FineWeb's 14 x 8 hashes, from raw text to the signature, with its default hash (xxhash)."""
    import numpy as np
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.hashing import HashConfig, create_hash_func
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    np.seterr(over="ignore")

    class Split:
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

    spacy = load_word_tokenizer("eng")
    spacy.word_tokenize("probe")
    for tokenizer, words in ((spacy, "spaCy's words (its default)"), (Split(), "words split at blanks")):
        step = MinhashDedupSignature.__new__(MinhashDedupSignature)
        step.config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig())
        step.num_hashes, step._parameters, step.word_tokenizer = 112, None, tokenizer
        step._hash_func = create_hash_func(step.config.hash_config)

        def work(texts: list[str], step: Any = step) -> None:
            for text in texts:
                shingles = step.get_shingles(text)
                if shingles.size:
                    step.get_signature(shingles)

        yield f"datatrove, K = 112, {words}", work


def datasketch() -> Iterator[Peer]:
    for name, bulk in _datasketch():
        yield name, lambda texts, bulk=bulk: bulk([grams(text) for text in texts])


def datasketch_given() -> Iterator[Peer]:
    yield from _datasketch()


def _datasketch() -> Iterator[Peer]:
    from datasketch import MinHash

    yield "datasketch, MinHash.bulk", lambda sets: MinHash.bulk(sets, num_perm=NUM_HASHES)
    import xxhash

    hashfunc = xxhash.xxh32_intdigest
    yield (
        "datasketch, MinHash.bulk, xxh32",
        lambda sets: MinHash.bulk(sets, num_perm=NUM_HASHES, hashfunc=hashfunc),
    )


def rensa() -> Iterator[Peer]:
    from rensa import RMinHash

    yield (
        "rensa, bulk",
        lambda texts: RMinHash.digest_matrix_from_token_byte_sets(list(map(grams, texts)), NUM_HASHES, SEED),
    )
    yield (
        "rensa, bulk, rho",
        lambda texts: RMinHash.digest_matrix_from_token_sets_rho(list(map(grams, texts)), NUM_HASHES, SEED),
    )


def rensa_given() -> Iterator[Peer]:
    from rensa import RMinHash

    yield (
        "rensa, bulk",
        lambda sets: RMinHash.digest_matrix_from_token_byte_sets(sets, NUM_HASHES, SEED),
    )
    yield (
        "rensa, bulk, rho",
        lambda sets: RMinHash.digest_matrix_from_token_sets_rho(sets, NUM_HASHES, SEED),
    )


if __name__ == "__main__":
    main()
