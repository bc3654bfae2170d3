from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.sorted.radix import argsort, group_starts, sort_pairs
from gristmill.dedup.sorted.runs import (
    BLOCK,
    MAGIC,
    SortedRun,
    key_range,
    read_range,
    sort_columns,
    write_run,
)
from gristmill.errors import IntegrityError

u64 = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 255, 256, 2**32, 2**63, 2**64 - 1])


@given(st.lists(u64, max_size=300))
@settings(max_examples=60, deadline=None)
def test_the_radix_sort_equals_a_stable_sort(keys: list[int]) -> None:
    array = np.array(keys, np.uint64)
    ordered, values = sort_pairs(array, np.arange(len(array), dtype=np.uint64))
    assert (ordered == np.sort(array)).all()
    assert values.tolist() == np.argsort(array, kind="stable").tolist()


def test_a_million_equal_keys_sort_in_linear_time_and_in_the_order_they_came() -> None:
    keys = np.full(1_000_000, 0x1234_5678_9ABC_DEF0, np.uint64)
    keys[::2] += np.uint64(1)
    assert (argsort(keys) == np.argsort(keys, kind="stable")).all()


def test_groups_of_equal_keys_start_where_the_key_changes() -> None:
    assert group_starts(np.array([3, 3, 5, 9, 9], np.uint64)).tolist() == [0, 2, 3, 5]
    assert group_starts(np.empty(0, np.uint64)).tolist() == [0]


@given(st.lists(st.integers(0, 50) | u64, max_size=200), st.integers(0, 2**64), st.integers(0, 2**64))
@settings(max_examples=60, deadline=None)
def test_a_range_of_a_run_holds_exactly_its_keys(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int], low: int, high: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "r"
    write_run(
        path, sort_columns({"key": np.array(keys, np.uint64), "row": np.arange(len(keys), dtype=np.uint32)})
    )
    found = read_range([SortedRun(path)], low, max(low, high), ("key", "row"))
    assert found["key"].tolist() == sorted(key for key in keys if low <= key < high)
    assert all(
        keys[row] == key for key, row in zip(found["key"].tolist(), found["row"].tolist(), strict=True)
    )


def test_the_offset_index_finds_keys_across_blocks(tmp_path: Path) -> None:
    keys = np.repeat(np.arange(0, 60, 2, dtype=np.uint64), BLOCK // 3)
    write_run(tmp_path / "r", {"key": keys})
    run = SortedRun(tmp_path / "r")
    for key in range(62):
        assert run.position(key) == int(np.searchsorted(keys, np.uint64(key)))


def test_key_ranges_cover_the_key_space_without_overlap() -> None:
    ranges = [key_range(part, 7) for part in range(7)]
    assert ranges[0][0] == 0 and ranges[-1][1] == 1 << 64
    assert all(left[1] == right[0] for left, right in itertools.pairwise(ranges))


def test_an_unsorted_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="must be sorted"):
        write_run(tmp_path / "r", {"key": np.array([2, 1], np.uint64)})


def test_a_run_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write_run(path, {"key": np.arange(1000, dtype=np.uint64)})
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(IntegrityError, match="cut short in column"):
        SortedRun(path)
    path.write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="no run of sorted records"):
        SortedRun(path)


@pytest.mark.parametrize(
    "header",
    [b'[["key","|O",8],["__index__","<u8",1]]', b'[["key","<u8",-8],["__index__","<u8",1]]',
     b'[["key","|V0",1000000000000],["__index__","<u8",1]]', b'[["key","<u8",1.5],["__index__","<u8",1]]',
     b'[["key","zz",1],["__index__","<u8",1]]', b"[]", b"[[[", b"null", b"[1]", b"\xff", bytes(1 << 21)],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.run"
    path.write_bytes(MAGIC + len(header).to_bytes(8, "little") + header + bytes(4096))
    with pytest.raises(IntegrityError, match="header"):
        SortedRun(path)
    path.write_bytes(MAGIC + (1 << 62).to_bytes(8, "little") + header)
    with pytest.raises(IntegrityError, match="header"):
        SortedRun(path)


def test_a_range_that_cannot_be_read_whole_is_an_error_and_not_a_shorter_range(tmp_path: Path) -> None:
    """numpy.fromfile returns what it got when a read fails: fewer keys, and so fewer duplicates."""
    keys = np.arange(1000, dtype=np.uint64)
    write_run(tmp_path / "a.run", {"key": keys, "row": keys})
    run = SortedRun(tmp_path / "a.run")
    with (tmp_path / "a.run").open("r+b") as file:
        file.truncate(run.columns.layout["row"].start + 80)
    assert run.read("row", slice(0, 10)).tolist() == [*range(10)]
    with pytest.raises(IntegrityError, match=r"a\.run` is damaged: it ends within the 6 numbers from 5 on"):
        run.read("row", slice(5, 11))
