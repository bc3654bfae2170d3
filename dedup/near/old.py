"""The index of an earlier run as a later one opens it: nobody vouches for what it says, so its columns and
row numbers are checked before they stand for documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.dedup.sorted.radix import Numbers
from gristmill.dedup.sorted.runs import BLOCK, SortedRun
from gristmill.errors import IntegrityError

BANDS = {"row": "<u4"}
SHINGLES = "shingles"
_UNSORTED = "its keys are not sorted"


def open_old(path: Path, columns: Mapping[str, str]) -> SortedRun:
    """Open a run of an index; raises IntegrityError where one of these columns is not there for each record,
    in its type."""
    run = SortedRun(path)
    if len(run.index) != -(-len(run) // BLOCK) or bool((run.index[1:] < run.index[:-1]).any()):
        raise _wrong(path, _UNSORTED)
    for name, dtype in columns.items():
        there = run.columns.layout.get(name)
        if there is None or there.dtype != dtype or there.length != len(run):
            found = f"{there.length:,} of {there.dtype}" if there else "none"
            raise _wrong(
                path, f"its column `{name}` must have {len(run):,} values of {dtype}, it has {found}"
            )
    return run


def check_rows(path: Path, rows: npt.NDArray[np.uint32], count: int) -> None:
    """Raise IntegrityError for a row that is none of the `count` documents of an index."""
    if len(rows) and (largest := int(rows.max())) >= count:
        raise _wrong(path, f"it has a key of row {largest:,}, and its documents are {count:,}")


def check_keys(path: Path, keys: Numbers, low: int, high: int) -> None:
    """Raise IntegrityError for keys that were found in [low, high) and are not: the run is not sorted."""
    if len(keys) and not (low <= int(keys.min()) and int(keys.max()) < high):
        raise _wrong(path, _UNSORTED)


def open_members(path: Path, columns: Mapping[str, str], count: int) -> SortedRun:
    """Open the documents of an index, of which there are `count`, and check where their shingles lie."""
    run = open_old(path, {**columns, "num_shingles": "<u8", "end": "<u8"})
    if len(run) != count:
        raise _wrong(path, f"it has {len(run):,} documents, and its manifest says {count:,}")
    shingles = run.columns.layout.get(SHINGLES)
    if shingles is None or shingles.dtype != "<u8":
        raise _wrong(path, f"it has no column `{SHINGLES}` of <u8")
    if not np.array_equal(run.key, np.arange(count, dtype=np.uint64)):
        raise _wrong(path, "its documents are not in their order")
    ends, sizes = run.columns["end"], run.columns["num_shingles"]
    ordered = np.array_equal(np.cumsum(sizes, dtype=np.uint64), ends) and bool((sizes <= ends).all())
    if not ordered or int(ends[-1] if count else 0) != shingles.length:
        raise _wrong(path, "its shingles do not lie end to end")
    return run


def check_names(path: Path, num_names: int, count: int) -> None:
    """Raise IntegrityError where an index names other documents than it has."""
    if num_names != count:
        raise _wrong(path, f"it names {num_names:,} documents, and its index has {count:,}")


def _wrong(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"the index of an earlier deduplication is damaged: {what}",
        where=str(path),
        hint="get the index again, or deduplicate its documents again with `fuzzy.index: true`",
    )
