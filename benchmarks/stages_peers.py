"""datatrove's stages over the documents of a folder, for benchmarks/stages.py: print {name: {stage: MB a CPU
second}}.

Each goes from Parquet (or JSON lines) to Parquet in this process, with words split at blanks and sentences at
end marks, which is several times as fast as datatrove's default tokenizer. Each is run three times; the
fastest counts.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import xxhash
from datatrove.pipeline import filters
from datatrove.pipeline.dedup import exact_dedup, minhash, sentence_dedup
from datatrove.pipeline.filters import (
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashes import xxhash as hashes

ROUNDS = 3


class Blanks:
    """Words as blanks part them, in place of spaCy's."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        return re.split(r"(?<=[.!?])\s+", text)


def seconds(*pipelines: list[Any]) -> float:
    """CPU seconds of pipelines one after another, each as a chain of one task."""
    begun = time.process_time()
    for pipeline in pipelines:
        data: Any = None
        for step in pipeline:
            data = step(data, 0, 1) if callable(step) else step
        if data is not None:
            deque(data, maxlen=0)
    return time.process_time() - begun


def main() -> None:
    folder = Path(sys.argv[1])
    fast()
    size = sum(len(text.encode()) for text in pq.read_table(folder / "sample.parquet")["text"].to_pylist())
    scratch = Path(tempfile.mkdtemp(prefix="peers-"))
    found: dict[str, float] = {}
    try:
        for number in range(ROUNDS):
            for name, stage in stages(folder, scratch / str(number)).items():
                try:
                    found[name] = max(found.get(name, 0), round(size / 1e6 / seconds(*stage()), 3))
                except Exception as error:  # a peer's own trouble is no result
                    print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps({"datatrove, words split at blanks": found}))


def fast() -> None:
    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        if hasattr(module, "split_into_words"):
            module.split_into_words = lambda text, language="en": text.split()
    for module in (c4_filters, sentence_dedup):
        module.split_into_sentences = lambda text, language="en": Blanks().sent_tokenize(text)
    # xxhash 4 takes bytes alone, where its earlier versions encoded strings themselves.
    hashes.xxhash64 = lambda data: xxhash.xxh64_intdigest(data.encode() if isinstance(data, str) else data)
    hashes.xxhash32 = lambda data: xxhash.xxh32_intdigest(data.encode() if isinstance(data, str) else data)
    for module in (minhash, sentence_dedup):
        if hasattr(module, "load_word_tokenizer"):
            module.load_word_tokenizer = lambda language: Blanks()


def stages(folder: Path, scratch: Path) -> dict[str, Callable[[], list[list[Any]]]]:
    numbers = iter(range(10_000))

    def read() -> Any:
        return ParquetReader(str(folder), glob_pattern="sample.parquet")

    def write() -> Any:
        return ParquetWriter(str(scratch / f"out{next(numbers)}"), compression="zstd")

    def four() -> list[Any]:
        return [
            filters.GopherQualityFilter(),
            filters.GopherRepetitionFilter(),
            filters.C4QualityFilter(),
            filters.FineWebQualityFilter(),
        ]

    def fuzzy() -> list[list[Any]]:
        place = scratch / "minhash"
        config = minhash.MinhashConfig()
        buckets = [
            minhash.MinhashDedupBuckets(str(place / "signatures"), str(place / "buckets"), config=config)
        ]
        return [
            [read(), minhash.MinhashDedupSignature(str(place / "signatures"), config=config)],
            *([Ranked(buckets[0], rank, config.num_buckets)] for rank in range(config.num_buckets)),
            [minhash.MinhashDedupCluster(str(place / "buckets"), str(place / "removed"), config=config)],
            [read(), minhash.MinhashDedupFilter(str(place / "removed")), write()],
        ]

    def exact() -> list[list[Any]]:
        place = scratch / "exact"
        config = exact_dedup.ExactDedupConfig(content_getter=lambda document: document.text)
        return [
            [read(), exact_dedup.ExactDedupSignature(str(place / "signatures"), config=config)],
            [exact_dedup.ExactFindDedups(str(place / "signatures"), str(place / "found"), config=config)],
            [read(), exact_dedup.ExactDedupFilter(str(place / "found"), config=config), write()],
        ]

    def lines() -> list[list[Any]]:
        place = scratch / "lines"
        config = sentence_dedup.SentDedupConfig(n_sentences=1, split_sentences=False)
        return [
            [read(), sentence_dedup.SentenceDedupSignature(str(place / "signatures"), config=config)],
            [
                sentence_dedup.SentenceFindDedups(
                    str(place / "signatures"), str(place / "found"), config=config
                )
            ],
            [read(), sentence_dedup.SentenceDedupFilter(str(place / "found"), config=config), write()],
        ]

    return {
        "JSON lines, no language": lambda: [[JsonlReader(str(folder), glob_pattern="sample.jsonl"), write()]],
        "Parquet, no language": lambda: [[read(), write()]],
        "filter, four presets": lambda: [[read(), *four(), write()]],
        "filter, with PII": lambda: [[read(), *four(), PIIFormatter(), write()]],
        "exact": exact,
        "fuzzy": fuzzy,
        "lines": lines,
    }


class Ranked:
    """One task of a step that has as many as there are buckets."""

    def __init__(self, step: Any, rank: int, world_size: int) -> None:
        self.step, self.rank, self.world_size = step, rank, world_size

    def __call__(self, data: Any, rank: int, world_size: int) -> Any:
        return self.step(data, self.rank, self.world_size)


if __name__ == "__main__":
    main()
