"""Encode a source's documents, each once: one task per file."""

from __future__ import annotations

from pathlib import Path

from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.tokenize.encode import encode as encode_file
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.tokenizers import open_tokenizer


def encode(job: Job) -> Stage:
    (tokenizer,) = job.paths("tokenizer")
    source = job.settings.source
    common = {"tokenizer": str(tokenizer), "settings": job.settings.tokenizer, "source": source}
    records = yield over_paths(
        "encode", encode_shard, job.paths("documents", source), may_lose=True, **common
    )
    return {
        name: sum(record.counts[name] for record in records)
        for name in ("documents", "tokens", "bytes", "lossy")
    }


def encode_shard(task: Attempt, path: str, tokenizer: str, settings: TokenizerSettings, source: str) -> None:
    payload, index = task.scratch / "tokens.bin", task.scratch / "index.parquet"
    task.record.counts = encode_file(open_tokenizer(Path(tokenizer), settings), Path(path), payload, index)
    task.publish(payload, "tokens", task.record.counts["tokens"], source=source)
    task.publish(index, "token-index", task.record.counts["documents"], source=source)
