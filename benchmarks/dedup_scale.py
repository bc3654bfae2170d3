"""Clustering of as many made documents as are asked for, in bounded disk and memory.

Band keys are made for one range of keys at a time, as the map tasks would have left them there: a fifth of
all documents lies in clusters of 2, 4, ... 1,024 that share each band with chance 1/2 and whose members are
spread over all rows; one in a hundred is the same page; 1 % (a million at most) is a chain in which only
neighbours share a key; all other keys are no one else's. The range is written, sorted, joined and deleted.
Components then come from the merge tree or, beyond `memory_bytes`, from rounds of stars, as in the step.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.dedup.near.cluster import cluster_bands, merge_forests, merge_tree, write_components
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted import stars
from gristmill.dedup.sorted.radix import sort_pairs
from gristmill.dedup.sorted.runs import SortedRun, key_range, num_parts, write_run

SETTINGS = FuzzySettings()
BANDS = SETTINGS.bands
CLASSES = 10  # of cluster sizes: 2, 4, ... 1,024, each of 2 % of all documents


def _mixed(values: np.ndarray) -> np.ndarray:
    values = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift in (31, 29):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(0xBF58476D1CE4E5B9)
    return values ^ (values >> np.uint64(32))


def _spread(places: np.ndarray, total: int) -> np.ndarray:
    """Spread places over all rows, one to one."""
    step = int(total * 0.6180339887) | 1
    while math.gcd(step, total) != 1:
        step += 2
    return (places.astype(np.uint64) * np.uint64(step) + np.uint64(7)) % np.uint64(total)


def made_keys(part: int, parts: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys of a range, and their rows, in no order."""
    low, high = key_range(part, parts)
    generator = np.random.default_rng(part)
    num_alone = int(
        BANDS * total * (0.79 + 0.1) / parts
    )  # half of the clustered documents' keys are their own
    keys = [generator.integers(low, high, num_alone, dtype=np.uint64)]
    rows = [generator.integers(0, total, num_alone, dtype=np.uint64)]
    each = total // 50

    def plant(numbers: np.ndarray, places: np.ndarray) -> None:
        keys.append(
            np.uint64(low) + _mixed(numbers.astype(np.uint64)) % np.uint64(min(high - low, (1 << 64) - 1))
        )
        rows.append(_spread(places, total))

    for kind in range(CLASSES):
        size = 2 << kind
        pairs = np.arange(part, each // size * BANDS, parts)
        places = (kind * each + pairs // BANDS * size)[:, None] + np.arange(size)
        shares = _mixed(
            places.astype(np.uint64) * np.uint64(BANDS) + (pairs % BANDS)[:, None].astype(np.uint64)
        )
        shares = (shares & np.uint64(1)).astype(bool)
        numbers = np.broadcast_to((pairs * 16 + kind)[:, None], places.shape)
        plant(numbers[shares], places[shares])
    giant = np.arange(total // 100) + CLASSES * each
    for band in range(BANDS):
        if band * parts // BANDS == part:
            plant(np.full(len(giant), 16 * band + 15), giant)
    links = np.arange(part, min(total // 100, 1_000_000) - 1, parts)
    for side in (0, 1):
        plant(links * 16 + 14, (CLASSES + 1) * each + links + side)
    return np.concatenate(keys), np.concatenate(rows)


def measured(task: Callable[..., Any], *arguments: Any) -> tuple[float, int, Any]:
    """Run a task; return CPU seconds, the process's peak memory in bytes, and what it gave."""
    began = time.process_time()
    result = task(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return time.process_time() - began, peak, result


def join_range(
    folder: Path, part: int, parts: int, total: int, memory_bytes: int
) -> tuple[float, list[Path], int]:
    """Make, sort and join one range of keys; return the seconds it took to make them, which do not count."""
    began = time.process_time()
    keys, rows = made_keys(part, parts, total)
    making = time.process_time() - began
    bands, out = folder / f"{part:05d}.bands", folder / f"forest-{part:05d}.run"
    key, row = sort_pairs(keys, rows)
    write_run(bands, {"key": key, "row": row, "first_row": np.zeros(1, np.uint64)})
    size = bands.stat().st_size
    counts = cluster_bands([bands], *key_range(part, parts), out, (), memory_bytes // stars.EDGE_BYTES)
    bands.unlink()
    return making, [out.with_suffix(f".{number}") for number in range(counts["files"])], size


def merge(paths: Sequence[Path], out: Path, last: bool) -> dict[str, Any]:
    counts: dict[str, Any] = merge_forests(paths, out)
    if last:
        counts = write_components(out, out.with_name("components-0"), SETTINGS.group_documents)
    return counts


def small(
    folder: Path, turn: str, part: int, parts: int, total: int, memory: int, paths: Sequence[Path]
) -> Any:
    out = folder / f"small-{turn}-{part:05d}.run"
    counts = stars.small_star(paths, *stars.row_range(part, parts, total), memory, out)
    return [[out.with_suffix(f".{n}.{side}") for n in range(counts["files"])] for side in ("row", "root")]


def large(
    folder: Path,
    turn: str,
    part: int,
    parts: int,
    total: int,
    memory: int,
    rows: list[Path],
    roots: list[Path],
) -> Any:
    out = folder / f"large-{turn}-{part:05d}.run"
    counts = stars.large_star(rows, roots, *stars.row_range(part, parts, total), memory, out)
    return [out.with_suffix(f".{n}.row") for n in range(counts["files"])], counts


def final(folder: Path, part: int, parts: int, total: int, rows: list[Path], roots: list[Path]) -> Any:
    out = folder / f"components-{part}"
    low, high = stars.row_range(part, parts, total)
    return stars.write_stars(rows, roots, low, high, SETTINGS.group_documents, out)


class Scale:
    """A pool, a folder, and what was measured phase by phase."""

    def __init__(self, total: int, workers: int, scratch: Path | None, memory_bytes: int) -> None:
        self.total, self.memory = total, memory_bytes
        self.folder = Path(tempfile.mkdtemp(dir=scratch))
        self.workers = workers
        self.cpu: dict[str, float] = {}
        self.peak: dict[str, int] = {}
        self.disk = 0

    def phase(self, name: str, task: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        with multiprocessing.get_context("spawn").Pool(self.workers) as pool:  # so that peaks are the phase's
            found = pool.starmap(measured, [(task, *call) for call in calls], 1)
        self.cpu[name] = self.cpu.get(name, 0) + sum(seconds for seconds, _peak, _result in found)
        self.peak[name] = max(self.peak.get(name, 0), *(peak for _seconds, peak, _result in found))
        self.disk = max(self.disk, sum(path.stat().st_size for path in self.folder.iterdir()))
        return [result for _seconds, _peak, result in found]

    def components(self, forests: list[Path]) -> int:
        """Join forests to components, by the step's own choice; return the rounds of stars it took."""
        joined = sum(len(SortedRun(path)) for path in forests)
        if min(joined, self.total) * stars.EDGE_BYTES <= self.memory:
            for level, groups in enumerate(merge_tree(len(forests))):
                merged = [self.folder / f"merged-{level}-{number}" for number in range(len(groups))]
                calls = [
                    ([forests[leaf] for leaf in group], out, len(groups) == 1)
                    for group, out in zip(groups, merged, strict=True)
                ]
                self.phase("merge", merge, calls)
                forests = drop(forests) or merged
            return 0
        parts = stars.num_ranges(self.total, joined, self.memory)
        where = [(part, parts, self.total, self.memory) for part in range(parts)]
        rounds, paths, changed = 0, forests, 1
        while True:
            turn = str(rounds)
            found = self.phase("small", small, [(self.folder, turn, *each, paths) for each in where])
            drop(paths)
            rows, roots = ([path for pair in found for path in pair[side]] for side in (0, 1))
            if not changed:
                break
            moved = self.phase("large", large, [(self.folder, turn, *each, rows, roots) for each in where])
            drop([*rows, *roots])
            paths = [path for some, _counts in moved for path in some]
            changed = sum(counts["changed"] + counts["conflicts"] for _some, counts in moved)
            rounds += 1
        self.phase("components", final, [(self.folder, *each[:3], rows, roots) for each in where])
        drop([*rows, *roots])
        return rounds

    def digest(self) -> tuple[str, int, int]:
        """Return a digest of who lies with whom, by rows, the documents clustered and the components."""
        by_row, by_root, documents, components = hashlib.sha256(), hashlib.sha256(), 0, 0
        parts = sorted(self.folder.glob("components-*"), key=lambda path: int(path.name.split("-")[1]))
        for path in parts:
            run = SortedRun(path)
            for start in range(0, len(run), 1 << 20):
                row, root = (run.columns[name][start : start + (1 << 20)] for name in ("row", "root"))
                by_row.update(row)
                by_root.update(root)
                documents, components = documents + len(row), components + int((row == root).sum())
        return by_row.hexdigest()[:8] + by_root.hexdigest()[:8], documents, components


def drop(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink()


def bench_scale(total: int, workers: int, scratch: Path | None, memory_bytes: int) -> dict[str, Any]:
    """Cluster so many made documents; return times, peaks and what was found."""
    scale = Scale(total, workers, scratch, memory_bytes)
    began = time.perf_counter()
    try:
        parts = num_parts(total * BANDS, SETTINGS.part_records)
        calls = [(scale.folder, part, parts, total, memory_bytes) for part in range(parts)]
        joined = scale.phase("sort and join", join_range, calls)
        making = sum(seconds for seconds, _paths, _size in joined)
        scale.cpu["sort and join"] -= making
        in_flight = workers * max(size for _seconds, _paths, size in joined)
        rounds = scale.components([path for _seconds, paths, _size in joined for path in paths])
        digest, documents, components = scale.digest()
        return {
            "documents": total,
            "workers": workers,
            "memory_bytes": memory_bytes,
            "parts": parts,
            "rounds_of_stars": rounds,
            "cpu_s": {name: round(seconds, 1) for name, seconds in scale.cpu.items()},
            "cpu_us_per_document": round(sum(scale.cpu.values()) / total * 1e6, 2),
            "making_keys_cpu_s": round(making, 1),
            "wall_s": round(time.perf_counter() - began, 1),
            "task_peak_mb": {name: round(peak / 1e6) for name, peak in scale.peak.items()},
            "driver_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
            "disk_peak_gb": round((scale.disk + in_flight) / 1e9, 2),
            "band_keys_gb": round(total * BANDS * 12 / 1e9, 1),
            "clustered": documents,
            "components": components,
            "digest": digest,
        }
    finally:
        shutil.rmtree(scale.folder)
