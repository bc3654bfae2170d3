"""Train the tokenizer on a sample of the documents, or take one in by path.

Files are measured, sampled and their words counted each by itself; the one task that trains reads counts.
What the tokenizer makes of each source is another step (`tokenizer_report`): encoding need not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gristmill.facts import Counts
from gristmill.files.disk import copy_file
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.tokenizer import TokenizerFacts, TokenizerSlice
from gristmill.tokenize.encoding.tokenizers import facts_of, open_tokenizer
from gristmill.tokenize.training import train as training
from gristmill.tokenize.training.wordcount import add_counts
from gristmill.tokenizer_files import FILE_NAMES

_WORDS_AT_ONCE = 1 << 16  # rows of a group of counted words, of some ten bytes each


@dataclass(frozen=True, slots=True)
class TextBytes(Counts):
    """Bytes of text in a file that may be trained on, or of its sample."""

    bytes: int = 0


def train(job: Job[TokenizerSlice]) -> Stage:
    piece = job.settings
    sampled = list[TaskRecord]()
    wanted, taken = dict[str, int](), dict[str, int]()
    if not piece.tokenizer.path:
        inputs = [
            (path, entry.source or "")
            for path, entry in job.files("documents")
            if entry.source in piece.sources
        ]
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
    return replace(made.stated(TokenizerFacts), replaced_files=passed_on(job, sampled))


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
        with ParquetWriter(task.scratch / "words.parquet", training.WORDS, _WORDS_AT_ONCE) as writer:
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
