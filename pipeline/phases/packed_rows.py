"""Rows of JSON in sorted runs: what a shuffle carries where rows are no columns of numbers.

A run has the keys (u64, sorted), the end of each row's JSON, and the JSON of all rows one after another, so
that a range of keys is one stretch of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.dedup.sorted.runs import SortedRun, sort_columns, write_run


def write_rows(path: Path, rows: Sequence[tuple[int, Any]]) -> None:
    """Write values by their keys; those of one key in the order given."""
    spelled = [json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() for _, value in rows]
    keys = np.array([key for key, _ in rows], np.uint64)
    ordered = sort_columns({"key": keys, "row": np.arange(len(rows), dtype=np.uint32)})
    lines = [spelled[row] for row in ordered["row"].tolist()]
    ends = np.cumsum([len(line) for line in lines], dtype=np.uint64)
    blob = np.frombuffer(b"".join(lines), np.uint8)
    write_run(path, {"key": ordered["key"], "end": ends.astype(np.uint64), "json": blob})


def read_rows(run: SortedRun, low: int, high: int) -> list[Any]:
    """The values whose keys lie in [low, high), in the order of keys."""
    span = run.span(low, high)
    at = int(run.columns["end"][span.start - 1]) if span.start else 0
    values = []
    for end in run.columns["end"][span].tolist():
        values.append(json.loads(run.columns["json"][at:end].tobytes()))
        at = end
    return values
