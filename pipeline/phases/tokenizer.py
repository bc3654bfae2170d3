"""Train the tokenizer on a sample of the documents, or take one in by path.

Files are measured and sampled each by itself; only the task that trains reads more than one, and what it
reads is the sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from gristmill.disk import copy_file
from gristmill.facts import Counts
from gristmill.hashing import canonical_json
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.shuffle import passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.tokenizer import TokenizerFacts, TokenizerSlice
from gristmill.storage import ParquetWriter
from gristmill.tokenize import train as training
from gristmill.tokenize.compression import tokenizer_report
from gristmill.tokenize.tokenizers import facts_of, open_tokenizer, resolved
from gristmill.tokenizer_files import FILE_NAMES

SAMPLE = pa.schema([pa.field("id", pa.binary(16), nullable=False), pa.field("text", pa.large_string())])


@dataclass(frozen=True, slots=True)
class TextBytes(Counts):
    """Bytes of text in a file that may be trained on."""

    bytes: int = 0


def train(job: Job[TokenizerSlice]) -> Stage:
    piece = job.settings
    files = [
        (path, entry.source or "") for path, entry in job.files("documents") if entry.source in piece.sources
    ]
    texts = {name: [str(path) for path, source in files if source == name] for name in piece.sources}
    samples, sampled = texts, list[TaskRecord]()
    wanted: dict[str, int] = {}
    if not piece.tokenizer.path:
        measured = yield over_paths("measure", measure_file, [path for path, _ in files])
        sizes = dict.fromkeys(piece.sources, 0)
        for record, (_, source) in zip(measured, files, strict=True):
            sizes[source] += record.stated(TextBytes).bytes
        proportions = piece.proportions or dict.fromkeys(piece.sources, 1 / len(piece.sources))
        chosen = training.fractions(piece.tokenizer, sizes, proportions)
        wanted = training.wanted_bytes(chosen, sizes)
        tasks = [
            Task(f"{number:05d}", sample_file, {"path": str(path), "fraction": chosen[source]})
            for number, (path, source) in enumerate(files)
        ]
        sampled = yield Phase("sample", tasks)
        found = [
            (source, entry)
            for record, (_, source) in zip(sampled, files, strict=True)
            for entry in record.named("sample")
        ]
        samples = {
            name: [str(job.folder / entry.path) for source, entry in found if source == name]
            for name in texts
        }
    (record,) = yield Phase(
        "train",
        [Task("model", make_tokenizer, {"samples": samples, "texts": texts, "wanted": wanted})],
    )
    return replace(record.stated(TokenizerFacts), replaced_files=passed_on(job, sampled))


def measure_file(task: Attempt[TokenizerSlice], path: str) -> None:
    task.record.state(TextBytes(training.text_bytes(Path(path), task.seed, task.settings.heldout_fraction)))


def sample_file(task: Attempt[TokenizerSlice], path: str, fraction: float) -> None:
    excluded = task.settings.heldout_fraction
    with ParquetWriter(task.scratch / "sample.parquet", SAMPLE) as writer:
        for table in training.sample(Path(path), fraction, task.seed, excluded):
            writer.write(table.cast(SAMPLE))
    if writer.num_rows:
        task.publish(writer.path, "sample", writer.num_rows)


def make_tokenizer(
    task: Attempt[TokenizerSlice],
    samples: Mapping[str, Sequence[str]],
    texts: Mapping[str, Sequence[str]],
    wanted: Mapping[str, int],
) -> None:
    """Publish the tokenizer under the name that shards carry it by, and record what it is."""
    settings, taken = task.settings.tokenizer, dict[str, int]()
    if settings.path:
        original = open_tokenizer(Path(settings.path), settings)
        facts = facts_of(original)  # its configuration files lie beside it, not beside the copy
        path = task.scratch / FILE_NAMES[original.kind]
        copy_file(Path(settings.path), path)
    else:
        path = task.scratch / FILE_NAMES["huggingface" if settings.kind == "byte-bpe" else "sentencepiece"]
        files = {name: [Path(item) for item in items] for name, items in samples.items()}
        taken = training.train(settings, files, wanted, path)
        facts = facts_of(open_tokenizer(path, settings))
    tokenizer = open_tokenizer(path, resolved(settings, facts))
    missed = training.sample_misses(wanted, taken)
    task.record.state(TokenizerFacts(file=path.name, **facts, sampled_bytes=taken, sample_missed=missed))
    report = task.scratch / "report.json"
    counted = tokenizer_report(
        tokenizer, {name: [Path(item) for item in items] for name, items in texts.items()}
    )
    report.write_bytes(canonical_json(counted) + b"\n")
    task.publish(report, "tokenizer-report", name="report.json")
    task.publish(path, "tokenizer", name=path.name)
