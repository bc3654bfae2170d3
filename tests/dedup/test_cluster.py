from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.near.cluster import (
    FAN_IN,
    cluster_bands,
    merge_forests,
    merge_tree,
    spanning_forest,
    write_components,
)
from gristmill.dedup.sorted.runs import SortedRun, key_range, sort_columns, write_run

edges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60)


def reference(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Label every row of a component of two or more with its smallest row, the slow way."""
    label = {row: row for pair in pairs for row in pair}
    changed = True
    while changed:
        changed = False
        for a, b in pairs:
            low = min(label[a], label[b])
            changed |= label[a] != low or label[b] != low
            label[a] = label[b] = low
    return {row: root for row, root in label.items() if row != root}


def forest(pairs: list[tuple[int, int]]) -> dict[int, int]:
    child, parent = (np.array([pair[side] for pair in pairs], np.uint64) for side in (0, 1))
    row, root = spanning_forest(child, parent)
    return dict(zip(row.tolist(), root.tolist(), strict=True))


@given(edges)
@settings(max_examples=100, deadline=None)
def test_a_spanning_forest_points_every_row_at_the_smallest_of_its_component(
    pairs: list[tuple[int, int]],
) -> None:
    assert forest(pairs) == reference(pairs)


@given(edges, edges)
@settings(max_examples=50, deadline=None)
def test_forests_of_parts_merge_to_the_forest_of_the_whole(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    assert forest([*forest(left).items(), *forest(right).items()]) == reference(left + right)


def test_the_merge_tree_is_a_function_of_the_number_of_leaves() -> None:
    assert merge_tree(1) == [[[0]]]
    levels = merge_tree(FAN_IN * FAN_IN + 1)
    assert [len(level) for level in levels] == [FAN_IN + 1, 2, 1]
    assert [leaf for group in levels[0] for leaf in group] == list(range(FAN_IN * FAN_IN + 1))


def test_a_key_of_a_million_documents_costs_a_million_edges(tmp_path: Path) -> None:
    count = 1_000_000
    columns = {"key": np.full(count, 42, np.uint64), "row": np.arange(count, dtype=np.uint32)}
    write_run(tmp_path / "bands", {**columns, "first_row": np.array([5], np.uint64)})
    counts = cluster_bands([tmp_path / "bands"], 0, 1 << 64, tmp_path / "forest.run")
    assert counts == {"band_keys": count, "edges": count - 1, "joined": count - 1, "files": 1}
    assert set(np.unique(SortedRun(tmp_path / "forest.0").columns["root"]).tolist()) == {5}


def test_components_do_not_depend_on_how_many_parts_the_keys_are_cut_into(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    bands = []
    for shard in range(3):
        key = generator.integers(0, 3000, 2000).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bands.append(tmp_path / f"{shard}.bands")
        columns = sort_columns({"key": key, "row": generator.integers(0, 1000, 2000).astype(np.uint32)})
        write_run(bands[-1], {**columns, "first_row": np.array([1000 * shard], np.uint64)})
    found = []
    for parts in (1, 5):
        forests = [tmp_path / f"{parts}-{part}" for part in range(parts)]
        for part, path in enumerate(forests):
            cluster_bands(bands, *key_range(part, parts), path)
        forests = [path.with_suffix(".0") for path in forests]
        merge_forests(forests, tmp_path / f"{parts}-all")
        found.append(SortedRun(tmp_path / f"{parts}-all").columns)
    assert all((found[0][name] == found[1][name]).all() for name in ("row", "root"))


def test_groups_hold_whole_components(tmp_path: Path) -> None:
    row = np.array([1, 2, 11, 12, 13, 21, 31], np.uint64)
    root = np.array([0, 0, 10, 10, 10, 20, 30], np.uint64)
    write_run(tmp_path / "forest", {"row": row, "root": root})
    counts = write_components(tmp_path / "forest", tmp_path / "components", 4)
    assert counts.pop("group_sizes") == [7, 2, 2]
    assert counts == {"documents": 11, "components": 4, "groups": 3, "largest": 4}
    assert SortedRun(tmp_path / "components").columns["bounds"][:-1].tolist() == [0, 20, 30]
