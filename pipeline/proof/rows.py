"""Rows of a scaling ladder: parameters, tokens, FLOPs and losses by source, from any CSV or JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import InputError, UsageError
from gristmill.files.inside import parsed
from gristmill.pipeline.proof.laws import FLOPS_PER_TOKEN, Floats

# Names that a column goes by, most telling first; the first that a file has is taken.
N_NAMES = ("N", "parameters", "params", "model size", "n_params", "num_parameters")
D_NAMES = ("D", "tokens", "training tokens", "num_tokens", "d_tokens")
C_NAMES = ("C", "flops", "training flop", "training flops", "compute")
LOSS_PREFIX = "loss"
COUNTS = ("N", "N_no_embedding", "N_matrices")  # as `ladder` writes them: all, without embeddings, and 6 N's


@dataclass(frozen=True, slots=True)
class Rows:
    """Runs of a ladder: N, D, C by row, one loss column by name, and which rows are of one run."""

    n: Floats
    d: Floats
    c: Floats
    losses: Mapping[str, Floats]
    runs: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.n)

    def only(self, chosen: Any) -> Rows:
        """The rows of an index or mask."""
        at = np.arange(len(self.n))[chosen]
        return replace(
            self,
            n=self.n[at], d=self.d[at], c=self.c[at],
            losses={name: column[at] for name, column in self.losses.items()},
            runs=tuple(self.runs[row] for row in at),
        )  # fmt: skip

    def without_least_repeated(self, count: int) -> Rows:
        """Leave out the `count` rows of fewest tokens per parameter, which hardly trained."""
        return self.only(np.sort(np.argsort(self.d / self.n, kind="stable")[count:]))


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file hold what; unset: by their usual names."""

    n: str | None = None
    d: str | None = None
    c: str | None = None
    losses: tuple[str, ...] = ()
    run: str = "run"


def read_rows(path: Path, columns: Columns | None = None) -> Rows:
    """Read a ladder's rows; two of N, D and C are enough, for C = 6 N D.

    Losses are the column `loss` and all that begin with `loss_` or `loss:`, each a source's. Raises
    InputError for a file without them, and for a value that is no number.
    """
    columns = columns or Columns()
    table = _table(path)
    if not table:
        raise InputError("the file has no rows", where=str(path))
    heads = list(table[0])
    found = {
        "N": _pick(heads, columns.n, N_NAMES, path),
        "D": _pick(heads, columns.d, D_NAMES, path),
        "C": _pick(heads, columns.c, C_NAMES, path),
    }
    there = {name: _column(table, head, path) for name, head in found.items() if head}
    if len(there) < 2:
        raise InputError(
            f"two of N, D and C are needed, the columns are {', '.join(heads)}",
            where=str(path),
            hint="name them with `--n`, `--d` or `--c`",
        )
    n = there["N"] if "N" in there else there["C"] / (FLOPS_PER_TOKEN * there["D"])
    d = there["D"] if "D" in there else there["C"] / (FLOPS_PER_TOKEN * n)
    c = there["C"] if "C" in there else FLOPS_PER_TOKEN * n * d
    named = columns.losses or tuple(head for head in heads if head.lower().startswith(LOSS_PREFIX))
    if not named:
        raise InputError(
            f"no column is named loss, the columns are {', '.join(heads)}",
            where=str(path),
            hint="name it with `--loss`",
        )
    losses = {_source(head): _column(table, head, path) for head in named}
    runs = tuple(str(row.get(columns.run) or number) for number, row in enumerate(table))
    return Rows(n, d, c, losses, runs)


def write_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, the columns of all rows in order of first appearance."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _table(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets begin a CSV with a byte order mark
    except FileNotFoundError:
        raise UsageError(
            f"there are no rows at `{path}`", hint="`gristmill scaling ladder` writes ladder.csv"
        ) from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise UsageError(f"`{path}` is no CSV or JSON lines: {error}") from None
    if path.suffix == ".jsonl":
        try:
            return [dict(parsed(line)) for line in text.split("\n") if line.strip()]
        except (ValueError, TypeError) as error:
            raise InputError(f"a line is no JSON object: {error}", where=str(path)) from None
    return [dict(row) for row in csv.DictReader(io.StringIO(text))]


def _pick(heads: Iterable[str], said: str | None, names: Sequence[str], path: Path) -> str | None:
    heads = list(heads)
    if said is not None:
        if said not in heads:
            raise InputError(f"there is no column `{said}`, but {', '.join(heads)}", where=str(path))
        return said
    folded = {head.strip().lower(): head for head in reversed(heads)}
    return next((folded[name.lower()] for name in names if name.lower() in folded), None)


def _column(table: Sequence[Mapping[str, Any]], head: str, path: Path) -> Floats:
    values = []
    for number, row in enumerate(table):
        try:
            values.append(float(row[head]))
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"row {number + 1}, column `{head}`: {row.get(head)!r} is no number", where=str(path)
            ) from None
    return np.array(values)


def _source(head: str) -> str:
    return head[len(LOSS_PREFIX) :].lstrip("_:") or "all" if head.lower().startswith(LOSS_PREFIX) else head
