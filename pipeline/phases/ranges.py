"""Runs of a shuffle where a task reads a range of their keys: whole where they lie near, else that range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gristmill.dedup.sorted.run_ranges import copy_range
from gristmill.files.location import ByRange, location, staged
from gristmill.files.stores import store_of
from gristmill.pipeline.run.job import Attempt

LARGE_BYTES = 32 << 20  # of a run that is read by ranges
LEAST_PARTS = 4  # of the keys, so that its range is small


def runs_here(task: Attempt[Any], runs: Sequence[ByRange], low: int, high: int) -> list[Path]:
    """Return local files that hold low <= key < high of runs, in their order.

    Of large ones on remote storage that are not on this machine only that range is fetched, where it is a
    small part of them: each node would else fetch every byte of a shuffle.
    """
    store = store_of(task.folder)
    is_part = (high - low) * LEAST_PARTS <= 1 << 64
    large = [n for n, run in enumerate(runs) if is_part and "://" in run.path and run.bytes >= LARGE_BYTES]
    wanted = {n: location(runs[n].path) for n in large}
    asked = [n for n, path in wanted.items() if not store.is_near(path)]
    sized = [(wanted[n], runs[n].bytes) for n in asked]
    copies = copy_range(sized, low, high, task.scratch / ".ranges", store.read_stretches) if asked else []
    here = {n: path for n, path in zip(asked, copies, strict=True) if path}
    rest = {n: run.path for n, run in enumerate(runs) if n not in here}
    whole = staged({"runs": list(rest.values())}, task.scratch / ".whole")["runs"]
    here |= {n: Path(path) for n, path in zip(rest, whole, strict=True)}
    return [here[n] for n in range(len(runs))]
