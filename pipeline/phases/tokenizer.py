"""Train the tokenizer on a sample of the documents, or take one in by path.

Files are measured, sampled and their words counted each by itself; the one task that trains reads counts.
What the tokenizer makes of each source is found source by source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.arrays import read_array, write_array
from gristmill.disk import copy_file
from gristmill.facts import Counts, Facts
from gristmill.hashing import canonical_json
from gristmill.manifest import TaskRecord
from gristmill.parquet import read_parquet
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.tokenizer import TokenizerFacts, TokenizerSlice
from gristmill.storage import ParquetWriter
from gristmill.tokenize import train as training
from gristmill.tokenize.compression import compress, tokenizer_report
from gristmill.tokenize.encoder import encoder_of
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.tokenizers import facts_of, open_tokenizer, resolved
from gristmill.tokenize.wordcount import add_counts
from gristmill.tokenizer_files import FILE_NAMES


@dataclass(frozen=True, slots=True)
class TextBytes(Counts):
    """Bytes of text in a file that may be trained on, or of its sample."""

    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Compressed(Facts):
    """Bytes and tokens of a source's first texts."""

    compressed: dict[str, Any]


def train(job: Job[TokenizerSlice]) -> Stage:
    piece = job.settings
    inputs = [
        (path, entry.source or "") for path, entry in job.files("documents") if entry.source in piece.sources
    ]
    sampled = list[TaskRecord]()
    wanted, taken = dict[str, int](), dict[str, int]()
    if not piece.tokenizer.path:
        measured = yield over_paths("measure", measure_file, [path for path, _ in inputs])
        sizes = [record.stated(TextBytes).bytes for record in measured]
        of_source = _by_source(piece, inputs, sizes)
        proportions = piece.proportions or dict.fromkeys(piece.sources, 1 / len(piece.sources))
        chosen = training.fractions(piece.tokenizer, of_source, proportions)
        tasks = [
            Task(
                f"{number:05d}",
                sample_file,
                {"path": str(path), "fraction": chosen[source], "size": size},
            )
            for number, ((path, source), size) in enumerate(zip(inputs, sizes, strict=True))
        ]
        sampled = yield Phase("sample", tasks)
        wanted = {name: round(fraction * of_source[name]) for name, fraction in chosen.items()}
        taken = _by_source(piece, inputs, [record.stated(TextBytes).bytes for record in sampled])
    arguments = {"words": files(job, sampled, "words"), "wanted": wanted, "taken": taken}
    (made,) = yield Phase("train", [Task("model", make_tokenizer, arguments)])
    facts = made.stated(TokenizerFacts)
    opened = resolved(piece.tokenizer, facts.as_json())
    common = {"tokenizer": str(job.folder / facts.file), "opened": opened}
    texts = {name: [str(path) for path, source in inputs if source == name] for name in piece.sources}
    compressed = yield Phase(
        "compress",
        [Task(f"{number:05d}", compress_source, {"paths": own}) for number, own in enumerate(texts.values())],
        {**common, "num_sources": len(texts)},
    )
    by_source = {
        name: record.stated(Compressed).compressed for name, record in zip(texts, compressed, strict=True)
    }
    told = {"by_source": by_source, "used": files(job, compressed, "used")}
    yield Phase("report", [Task("report", report_on, {**common, **told})])
    return replace(facts, replaced_files=passed_on(job, sampled, compressed))


def _by_source(
    piece: TokenizerSlice, inputs: Sequence[tuple[Path, str]], sizes: Sequence[int]
) -> dict[str, int]:
    sums = dict.fromkeys(piece.sources, 0)
    for (_, source), size in zip(inputs, sizes, strict=True):
        sums[source] += size
    return sums


def measure_file(task: Attempt[TokenizerSlice], path: str) -> None:
    task.record.state(TextBytes(training.text_bytes(Path(path), task.seed, task.settings.heldout_fraction)))


def sample_file(task: Attempt[TokenizerSlice], path: str, fraction: float, size: int) -> None:
    """Publish the words of a file's sample with their counts."""
    excluded = task.settings.heldout_fraction
    words, taken = training.sample_words(Path(path), fraction, size, task.seed, excluded)
    task.record.state(TextBytes(taken))
    if len(words):
        with ParquetWriter(task.scratch / "words.parquet", training.WORDS) as writer:
            writer.write(words.cast(training.WORDS))
        task.publish(writer.path, "words", writer.num_rows)


def make_tokenizer(
    task: Attempt[TokenizerSlice], words: Sequence[str], wanted: Mapping[str, int], taken: Mapping[str, int]
) -> None:
    """Publish the tokenizer under the name that shards carry it by, and record what it is."""
    settings = task.settings.tokenizer
    if settings.path:
        original = open_tokenizer(Path(settings.path), settings)
        facts = facts_of(original)  # its configuration files lie beside it, not beside the copy
        path = task.scratch / FILE_NAMES[original.kind]
        copy_file(Path(settings.path), path)
    else:
        path = task.scratch / FILE_NAMES["huggingface" if settings.kind == "byte-bpe" else "sentencepiece"]
        training.train(settings, add_counts(read_parquet(Path(part)) for part in words), path)
        facts = facts_of(open_tokenizer(path, settings))
    missed = training.sample_misses(wanted, taken)
    sampled = dict(taken)
    task.record.state(TokenizerFacts(file=path.name, **facts, sampled_bytes=sampled, sample_missed=missed))
    task.publish(path, "tokenizer", name=path.name)


def compress_source(
    task: Attempt[TokenizerSlice],
    paths: Sequence[str],
    tokenizer: str,
    opened: TokenizerSettings,
    num_sources: int,
) -> None:
    """Count what the tokenizer makes of a source's first texts; the encoder is the one that encodes later."""
    encoder = encoder_of(Path(tokenizer), opened)
    counted, used = compress(encoder, [Path(path) for path in paths], num_sources)
    task.record.state(Compressed(counted))
    path = task.scratch / "used.i64"
    write_array(path, used.astype("<i8"))
    task.publish(path, "used")


def report_on(
    task: Attempt[TokenizerSlice],
    by_source: Mapping[str, Mapping[str, Any]],
    used: Sequence[str],
    tokenizer: str,
    opened: TokenizerSettings,
) -> None:
    report = task.scratch / "report.json"
    total: Any = sum(read_array(path, "<i8") for path in used)
    counted = tokenizer_report(open_tokenizer(Path(tokenizer), opened), by_source, np.asarray(total))
    report.write_bytes(canonical_json(counted) + b"\n")
    task.publish(report, "tokenizer-report", name="report.json")
