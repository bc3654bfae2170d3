"""A range of a run that lies elsewhere reads as the whole run does, and costs little more than its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from gristmill.dedup.sorted import runs
from gristmill.dedup.sorted.run_ranges import copy_range
from gristmill.dedup.sorted.runs import SortedRun, key_range, key_slices, read_range, write_run
from gristmill.errors import IntegrityError


class Elsewhere:
    """Reads stretches of files and counts them."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.num_bytes = 0

    def __call__(self, stretches: Sequence[tuple[Path, int, int]]) -> Iterator[bytes]:
        self.rounds.append(len(stretches))
        for path, start, stop in stretches:
            data = path.read_bytes()[start:stop]
            assert len(data) == stop - start
            self.num_bytes += len(data)
            yield data


def make_runs(folder: Path, sizes: Sequence[int], spread: int = 1 << 64) -> list[tuple[Path, int]]:
    draw = np.random.default_rng(7)
    made = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.run"
        key = np.sort(draw.integers(0, spread, size, dtype=np.uint64, endpoint=spread < 1 << 64) if size else
                      np.empty(0, np.uint64))  # fmt: skip
        columns = {"key": key, "row": np.arange(size, dtype=np.uint32), "first_row": np.array([number * 9])}
        write_run(path, columns)
        made.append((path, path.stat().st_size))
    return made


@pytest.mark.parametrize("block", [1, 7, 4096])
@pytest.mark.parametrize("spread", [(1 << 64) - 1, 40])
def test_a_copied_range_reads_as_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, spread: int
) -> None:
    """Also where keys repeat over many blocks, and where a run is empty."""
    monkeypatch.setattr(runs, "BLOCK", block)
    monkeypatch.setattr("gristmill.dedup.sorted.run_ranges.BLOCK", block)
    made = make_runs(tmp_path, [500, 0, 1, 50], spread)
    whole = [SortedRun(path) for path, _ in made]
    bounds = [key_range(part, 5) for part in range(5)] + [(0, 1 << 64), (3, 4), (7, 30), (30, 1 << 64)]
    for number, (low, high) in enumerate(bounds):
        copies = copy_range(made, low, high, tmp_path / str(number), Elsewhere())
        found = [SortedRun(path) for path in copies if path]
        assert len(found) == len(whole)
        for name in ("key", "row"):
            mine, theirs = (read_range(each, low, high, [name])[name] for each in (found, whole))
            assert mine.tobytes() == theirs.tobytes()
        assert list(key_slices(found, low, high, 20)) == list(key_slices(whole, low, high, 20))
        assert [run.columns["first_row"].tolist() for run in found] == [[0], [9], [18], [27]]


def test_a_small_range_of_a_large_run_costs_three_rounds_and_a_small_part_of_its_bytes(
    tmp_path: Path,
) -> None:
    made = make_runs(tmp_path, [300_000] * 2, (1 << 64) - 1)
    elsewhere = Elsewhere()
    copies = copy_range(made, *key_range(3, 100), tmp_path / "copies", elsewhere)
    assert elsewhere.rounds == [2, 4, 4]  # of each run: header; index and first row; two columns
    size = sum(size for _, size in made)
    assert elsewhere.num_bytes < size / 20
    assert all(path and path.stat().st_size == size for path, (_, size) in zip(copies, made, strict=True))


def test_a_run_with_long_columns_of_another_kind_is_left_to_be_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "packed.run"
    packed = np.zeros(2 << 20, np.uint8)
    write_run(path, {"key": np.arange(10, dtype=np.uint64), "end": np.arange(10), "packed": packed})
    assert copy_range([(path, path.stat().st_size)], 0, 5, tmp_path / "c", Elsewhere()) == [None]


def test_what_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    path.write_bytes(b"something else entirely")
    with pytest.raises(IntegrityError, match=r"x\.run is no run of sorted records"):
        copy_range([(path, 23)], 0, 5, tmp_path / "c", Elsewhere())
