"""Downstream tasks while a model trains: files of rows, as `evaluate` reads them, scored with each
evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import InputError, UsageError
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.evaluate import Scorer, evaluate_rows
from gristmill.trainer.evaluation.rows import read_rows
from gristmill.trainer.evaluation.tokenizer import ShardTokenizer, open_tokenizer

KINDS = ("text", "last_word", "answer", "choices")


@dataclass(frozen=True)
class Task:
    """The rows of one file, known by its name without its ending."""

    name: str
    rows: list[dict[str, Any]]
    tokenizer: ShardTokenizer
    eos_id: int

    def score(self, scorer: Scorer) -> list[dict[str, Any]]:
        """Return one row for each kind of result."""
        found = evaluate_rows(scorer, self.tokenizer, self.eos_id, self.rows)
        return [{"task": self.name, "kind": kind, **found[kind]} for kind in KINDS if kind in found]


def open_tasks(files: Sequence[str], shards: ShardSet) -> list[Task]:
    """Read the files before training begins; rows that cannot be scored are errors that name them."""
    if not files:
        return []
    names = [Path(file).stem for file in files]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"two files of `tasks` are called {twice[0]}", hint="rename one: results go by name")
    path = shards.tokenizer()
    if path is None:
        raise InputError(
            "`tasks` are texts, and no tokenizer lies beside the shards", where=str(shards.folder),
            hint="copy there the one they were encoded with",
        )  # fmt: skip
    tokenizer = open_tokenizer(path, shards.eos_id)
    tasks = [
        Task(name, list(read_rows(Path(file))), tokenizer, shards.eos_id)
        for name, file in zip(names, files, strict=True)
    ]
    for task, file in zip(tasks, files, strict=True):
        if not task.rows:
            raise InputError("a file of `tasks` has no rows", where=file)
    return tasks


def spell_task(row: Mapping[str, Any]) -> str:
    """Spell a result: its accuracy where there is one, else bits per byte."""
    if row.get("accuracy") is not None:
        return f"{row['task']} {row['kind']} {row['accuracy']:.3f}"
    return f"{row['task']} {row['kind']} {row['bits_per_byte']:.4f} bits per byte"
