"""What must stay linear, at sizes that take minutes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.dedup.settings.near import FuzzySettings
from tests.support.dedup_drive import documents, run_fuzzy
from tests.support.made_texts import page


def copies(folder: Path, texts: list[str], count: int) -> list[tuple[Path, int]]:
    """Write shards of so many documents that repeat a few texts, with ids of their own."""
    one = documents(texts)
    table = one.take(pa.array(np.arange(count) % len(texts)))
    ids = np.zeros((count, 2), ">u8")
    ids[:, 1] = np.arange(count)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(ids.tobytes())])
    table = table.set_column(0, table.schema.field("id"), column)
    folder.mkdir(parents=True)
    shards = []
    for row in range(0, count, 100_000):
        shards.append((folder / f"{row:09d}.parquet", row))
        pq.write_table(table.slice(row, 100_000), shards[-1][0], row_group_size=2048)
    return shards


@pytest.mark.slow
def test_a_million_identical_boilerplate_pages_do_not_stall(tmp_path: Path) -> None:
    texts = [" ".join(page(1, 40))]
    seconds = []
    for count in (100_000, 1_000_000):
        began = time.process_time()
        found = run_fuzzy(
            FuzzySettings(), copies(tmp_path / str(count), texts, count), tmp_path / f"s{count}"
        )
        seconds.append(time.process_time() - began)
        assert len(found.kept) == 1 and found.counts[0]["largest"] == count
        assert found.counts[1]["compared"] == count - 1
    print(seconds)
    assert seconds[1] < 20 * seconds[0]


@pytest.mark.slow
def test_a_component_in_which_nobody_is_a_duplicate_costs_no_square(tmp_path: Path) -> None:
    """All pages share one long passage, so they share band keys, but none comes near the threshold."""
    passage = page(1, 60)
    texts = [" ".join([*passage, *page(10 + number, 60)]) for number in range(5000)]
    settings = FuzzySettings(
        bands=100, rows=1, survivor="id", estimate_margin=1.0, max_candidates=256, max_comparisons=32
    )
    shards = copies(tmp_path / "in", texts, len(texts))
    found = run_fuzzy(settings, shards, tmp_path / "s")
    assert len(found.kept) == len(texts)
    assert found.counts[1]["compared"] <= 256 * len(texts)
    assert len(found.counts[1]["bounded"]) > len(texts) // 2
