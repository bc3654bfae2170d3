"""Components by rounds of stars, and giant components by many tasks: the answer of one task, for any
partition."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gristmill.dedup.near import cluster
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted import stars
from gristmill.dedup.sorted.runs import SortedRun, key_range, write_run
from gristmill.manifest import Manifest
from gristmill.pipeline.look.verify import verify
from tests.support.dedup_drive import documents
from tests.support.dedup_stages import made_stage, read, run
from tests.support.made_stage import MadeSlice
from tests.support.made_texts import corpus, page

__all__ = ["made_stage"]  # the fixture that names the stage of made documents
ROOT = Path(__file__).parents[2]
Edges = npt.NDArray[np.uint64]


def by_rounds(
    folder: Path, edges: Edges, count: int, files: int, parts: int, memory: int
) -> tuple[dict[int, int], int]:
    """Drive the rounds over edges (a, b) that lie in some files; return the root of each row, and the number
    of rounds."""
    folder.mkdir()
    paths = []
    for number, some in enumerate(np.array_split(edges, files)):
        paths.append(folder / f"in-{number}.row")
        row, root = cluster.spanning_forest(
            np.ascontiguousarray(some.max(axis=1)), np.ascontiguousarray(some.min(axis=1))
        )
        write_run(paths[-1], {"row": row, "root": root})
    number = 0
    while True:
        small, by_root = small_star(folder / f"{number}-s", paths, parts, count, memory)
        changed, paths = 0, []
        for part in range(parts):
            out = folder / f"{number}-l{part}"
            told = stars.large_star(small, by_root, *stars.row_range(part, parts, count), memory, out)
            paths += [out.with_suffix(f".{piece}.row") for piece in range(told["files"])]
            changed += told["changed"] + told["conflicts"]
        number += 1
        if not changed:
            break
    small, by_root = small_star(folder / "last", paths, parts, count, memory)
    found: dict[int, int] = {}
    sizes: list[int] = []
    for part in range(parts):
        out = folder / f"components-{part}"
        told = stars.write_stars(small, by_root, *stars.row_range(part, parts, count), 50, out)
        sizes += told["group_sizes"]
        columns = SortedRun(out).columns
        found.update(zip(columns["row"].tolist(), columns["root"].tolist(), strict=True))
    assert sum(sizes) == len(found)
    return found, number


def small_star(
    folder: Path, paths: list[Path], parts: int, count: int, memory: int
) -> tuple[list[Path], list[Path]]:
    by_row, by_root = [], []
    for part in range(parts):
        out = folder.with_name(f"{folder.name}{part}")
        told = stars.small_star(paths, *stars.row_range(part, parts, count), memory, out)
        by_row += [out.with_suffix(f".{piece}.row") for piece in range(told["files"])]
        by_root += [out.with_suffix(f".{piece}.root") for piece in range(told["files"])]
    return by_row, by_root


def expected(edges: Edges, count: int) -> dict[int, int]:
    a, b = edges.T.astype(np.int64)
    _n, label = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)))
    smallest = np.full(count, count)
    np.minimum.at(smallest, label, np.arange(count))
    inside = np.unique(edges[a != b].astype(np.int64))
    return {int(row): int(smallest[label[row]]) for row in inside}


def chain(count: int, seed: int) -> Edges:
    order = np.random.default_rng(seed).permutation(count).astype(np.uint64)
    return np.random.default_rng(seed).permutation(np.stack([order[1:], order[:-1]], axis=1))


GRAPHS = {
    "chain": lambda: chain(3000, 1),
    "straight chain": lambda: np.stack([np.arange(1, 3000), np.arange(2999)], axis=1).astype(np.uint64),
    "hub": lambda: np.stack([np.arange(1, 3000), np.zeros(2999)], axis=1).astype(np.uint64),
    "sparse": lambda: np.random.default_rng(2).integers(0, 3000, (1600, 2), dtype=np.uint64),
    "dense": lambda: np.random.default_rng(3).integers(0, 3000, (9000, 2), dtype=np.uint64),
    "last rows": lambda: np.array([[2998, 2999]], np.uint64),
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(("files", "parts", "memory"), [(1, 1, 1 << 30), (5, 7, 60_000), (40, 3, 100_000)])
def test_rounds_of_stars_find_the_components_for_any_partition(
    tmp_path: Path, graph: str, files: int, parts: int, memory: int
) -> None:
    edges = GRAPHS[graph]()
    found, rounds = by_rounds(tmp_path / "r", edges, 3000, files, parts, memory)
    assert found == expected(edges, 3000)
    assert rounds <= 2 + math.log2(3000)


def test_a_key_that_exceeds_a_slice_is_joined_as_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same forest, whether a slice holds all or one key alone exceeds it, in files of bounded size."""
    key = np.sort(
        np.concatenate([np.full(5000, 7, np.uint64), np.arange(100, 400, dtype=np.uint64).repeat(2)])
    )
    rows = np.random.default_rng(1).permutation(len(key)).astype(np.uint32)
    write_run(tmp_path / "bands", {"key": key, "row": rows, "first_row": np.array([10], np.uint64)})
    whole = cluster.cluster_bands([tmp_path / "bands"], *key_range(0, 1), tmp_path / "whole.run")
    monkeypatch.setattr(cluster, "_SLICE_RECORDS", 64)
    parts = cluster.cluster_bands([tmp_path / "bands"], *key_range(0, 1), tmp_path / "parts.run", most=256)
    assert (whole["files"], whole["joined"]) == (1, 5299) and parts["files"] > 10
    forests = [tmp_path / f"parts.{number}" for number in range(parts["files"])]
    assert max(len(SortedRun(path)) for path in forests) < 1000
    cluster.merge_forests(forests, tmp_path / "merged")
    for name in ("row", "root"):
        assert np.array_equal(
            SortedRun(tmp_path / "merged").columns[name], SortedRun(tmp_path / "whole.0").columns[name]
        )


def test_a_range_of_keys_holds_no_more_edges_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting edges were folded by four million, whatever the memory."""
    chance = np.random.default_rng(2)
    key = np.sort(chance.integers(0, 4000, 20_000).astype(np.uint64) << np.uint64(50))
    rows = chance.integers(0, 12_000, len(key)).astype(np.uint32)
    write_run(tmp_path / "bands", {"key": key, "row": rows, "first_row": np.array([0], np.uint64)})
    sizes: list[int] = []
    whole = cluster.spanning_forest

    def counted(child: np.ndarray, parent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(child))
        return whole(child, parent)

    monkeypatch.setattr(cluster, "spanning_forest", counted)
    cluster.cluster_bands([tmp_path / "bands"], *key_range(0, 1), tmp_path / "parts.run", most=2000)
    assert 500 < max(sizes) <= 2000


PEAK = """
import os, sys
from pathlib import Path
from gristmill.dedup.sorted import stars

held, write_run = [], stars.write_run

def noted(*arguments):
    write_run(*arguments)
    held.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"))

stars.write_run = noted
paths = [Path(name) for name in sys.argv[1:5]]
stars.small_star(paths, 0, 8_000_000, 1 << 24, Path(sys.argv[5]))
print(max(held) - held[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's memory from /proc")
def test_a_half_round_does_not_keep_the_pages_of_files_it_read_by_turns(tmp_path: Path) -> None:
    """Four files of 32 MB under 16 MB of memory: all that was mapped stayed, and counted as the task's."""
    draw, paths = np.random.default_rng(4), [tmp_path / f"in-{number}" for number in range(4)]
    for path in paths:
        row = np.arange(1, 2_000_001, dtype=np.uint64) * np.uint64(4) - np.uint64(1)
        write_run(path, {"row": row, "root": row - np.uint64(1) - draw.integers(0, 3, len(row), np.uint64)})
    arguments = [*map(str, paths), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 64 << 20


TEMPLATE = page(77, 90)
PAGES = [" ".join([*TEMPLATE[:40], f"own{n}", f"its{n % 30}", *TEMPLATE[40:]]) for n in range(200)]
FAR = [" ".join([*TEMPLATE[:60], *page(500 + n % 40, 25), f"far{n}"]) for n in range(120)]
TABLE = documents([*corpus(200, 5), *PAGES, *FAR])


def outcome(manifest: Manifest) -> list[pa.Table]:
    return [read(manifest, kind) for kind in ("documents", "removed", "decisions")]


@pytest.mark.parametrize("verification", ["jaccard", pytest.param("none", marks=pytest.mark.slow)])
def test_rounds_and_giants_give_what_one_task_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verification: str
) -> None:
    settings = FuzzySettings(memory_bytes=1 << 21, verify=verification, bands=40, rows=5, group_documents=60)
    one = run(tmp_path / "one", TABLE, [100, 90, 150], MadeSlice(fuzzy=settings))["dedup-fuzzy"]
    assert one.extra["rounds"] == 0
    monkeypatch.setattr(stars, "EDGE_BYTES", 10_000)
    many = settings.model_copy(update={"split_documents": 150})
    split = run(tmp_path / "many", TABLE, [100, 90, 150], MadeSlice(fuzzy=many))["dedup-fuzzy"]
    phases = {record["path"] for record in split.records}
    assert split.extra["rounds"] > 0 and any("giant-0-sweep" in name for name in phases), phases
    for first, second in zip(outcome(one), outcome(split), strict=True):
        assert first.equals(second)
    assert one.extra["removed"] == split.extra["removed"] > 150
    shuffled = TABLE.take(pa.array(random.Random(2).sample(range(len(TABLE)), len(TABLE))))
    again = run(tmp_path / "again", shuffled, [33, 300], MadeSlice(fuzzy=many))["dedup-fuzzy"]
    for first, second in zip(outcome(one), outcome(again), strict=True):
        assert first.equals(second)
    assert list(verify(tmp_path / "many")) == []


def test_giants_against_an_index_give_what_one_task_gives(tmp_path: Path) -> None:
    settings = FuzzySettings(memory_bytes=1 << 20, bands=40, rows=5, group_documents=60, index=True)
    run(tmp_path / "old", documents(PAGES[::3] + FAR[::3]), [30], MadeSlice(fuzzy=settings))
    against = settings.model_copy(update={"against": (str(tmp_path / "old"),)})
    new = documents([*PAGES, *FAR], keys=[f"new{n}" for n in range(320)])
    found = [
        run(tmp_path / str(split), new, [100, 60], MadeSlice(fuzzy=against.model_copy(update=settings_)))
        for split, settings_ in ((split, {"split_documents": split}) for split in (1000, 50))
    ]
    for first, second in zip(*(outcome(manifests["dedup-fuzzy"]) for manifests in found), strict=True):
        assert first.equals(second)
