from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from gristmill.dedup.near.cluster import cluster_bands
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.runs import SortedRun, write_run
from gristmill.errors import IntegrityError, StaleError, StepFailed, UsageError
from gristmill.files.storage import publish
from gristmill.manifest import Manifest, put_manifest
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases.dedup.index import index_digest, indexes, old_shards, planned_indexes
from tests.support.dedup_drive import documents
from tests.support.dedup_stages import made_stage, read, run
from tests.support.made_stage import MadeSlice
from tests.support.made_texts import corpus, page

__all__ = ["made_stage"]  # the fixture that names the stage of made documents


def fuzzy(**settings: object) -> MadeSlice:
    return MadeSlice(
        fuzzy=FuzzySettings(index=True, survivor="id", part_records=3000, group_documents=30, **settings)
    )


def test_a_page_of_an_earlier_run_removes_its_copy_and_is_named(tmp_path: Path) -> None:
    words = page(1)
    old = documents([" ".join(words), " ".join(page(2))], keys=["old", "other"])
    run(tmp_path / "old", old, [], fuzzy())
    new = documents([" ".join([*words, "and", "longer"]), " ".join(page(3))], keys=["new", "fresh"])
    found = run(tmp_path / "new", new, [], fuzzy(against=(str(tmp_path / "old"),)))["dedup-fuzzy"]
    assert read(found, "documents")["id"].to_pylist() == new["id"].to_pylist()[1:]
    row = next(row for row in read(found, "decisions").to_pylist() if row["id"] == new["id"][0].as_py())
    assert row["survivor_id"] == old["id"][0].as_py() and row["verified"] and row["jaccard"] > 0.9
    assert found.rows("index-members") == 1
    assert list(verify(tmp_path / "new")) == []


def test_snapshots_one_after_the_other_equal_all_together_when_the_order_puts_the_old_first(
    tmp_path: Path,
) -> None:
    """The order is by id here; the ids of the first snapshot are made the smallest."""
    texts = corpus(360, 11)
    ids = sorted(documents(texts)["id"].to_pylist())
    table = documents(texts).set_column(0, "id", pa.array(ids, pa.binary(16)))
    together = run(tmp_path / "all", table, [], fuzzy())["dedup-fuzzy"]
    kept, against = set(), ()
    for number, start in enumerate(range(0, 360, 120)):
        out = tmp_path / str(number)
        found = run(out, table.slice(start, 120), [50], fuzzy(against=against))["dedup-fuzzy"]
        kept |= set(read(found, "documents")["id"].to_pylist())
        against = (str(out),)  # the index names those it was made against
    assert len(indexes(FuzzySettings(against=against))) == 3
    assert kept == set(read(together, "documents")["id"].to_pylist())
    assert together.extra["removed"] > 15


def test_marked_duplicates_do_not_enter_the_index(tmp_path: Path) -> None:
    text = " ".join(page(1))
    table = documents([text, text + " more"])
    found = run(tmp_path / "out", table, [], fuzzy(mode="mark"))["dedup-fuzzy"]
    assert (found.rows("documents"), found.rows("index-members")) == (2, 1)


def test_an_index_made_otherwise_or_none_is_refused(tmp_path: Path) -> None:
    table = documents([" ".join(page(1))])
    run(tmp_path / "out", table, [], fuzzy())
    with pytest.raises(UsageError, match="ngram 5"):
        indexes(FuzzySettings(ngram=6, against=(str(tmp_path / "out"),)))
    run(tmp_path / "plain", table, [], MadeSlice())
    with pytest.raises(UsageError, match="holds no index"):
        planned_indexes(FuzzySettings(against=(str(tmp_path / "plain"),)))
    assert index_digest(planned_indexes(FuzzySettings())) == {}


def test_the_indexes_that_were_planned_with_are_those_that_are_read(tmp_path: Path) -> None:
    """One that came to the folder since is left alone, one that was replaced ends the step."""
    for name, number in (("a", 1), ("b", 2)):
        run(tmp_path / name, documents([" ".join(page(number))]), [], fuzzy())
    against = (str(tmp_path / "a"),)
    planned = planned_indexes(FuzzySettings(against=against))
    before = old_shards(planned, 0)
    whole = json.loads((tmp_path / "a" / "run.json").read_text())
    other = json.loads((tmp_path / "b" / "run.json").read_text())
    shutil.copytree(tmp_path / "b" / "steps", tmp_path / "a" / "steps", dirs_exist_ok=True)
    late = [{**entry, "name": f"{entry['name']}-late"} for entry in other["steps"]]
    (tmp_path / "a" / "run.json").write_text(json.dumps({**whole, "steps": whole["steps"] + late}))
    assert len(planned_indexes(FuzzySettings(against=against))) == 2
    assert old_shards(planned, 0) == before
    ((folder, _),) = planned
    shutil.copy(tmp_path / "b" / Path(other["steps"][-1]["folder"]) / "manifest.json", folder)
    with pytest.raises(StaleError, match="is not the one that the run was planned with"):
        old_shards(planned, 0)


def changed(manifest: Manifest, kind: str, folder: Path, **columns: object) -> Path:
    """An index whose run of this kind has other columns, under the digests of what it says now."""
    entries = []
    for entry in manifest.files:
        if not entry.kind.startswith("index-"):
            continue
        path = folder / "made" / f"{entry.kind}{Path(entry.path).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.folder / entry.path, path)
        if entry.kind == kind:
            old = {name: np.array(column) for name, column in SortedRun(path).columns.items()}
            write_run(path, {**old, **{name: np.asarray(value) for name, value in columns.items()}})  # type: ignore[arg-type]
        entries.append(publish(path, folder, entry.kind, entry.kind, entry.rows))
    extra = {"index": manifest.extra["index"], "against": [], "corpus": "changed"}
    put_manifest(Manifest(folder, manifest.step, manifest.identity, {}, entries, [], None, extra))
    return folder


@pytest.mark.parametrize(
    ("kind", "columns", "said"),
    [
        ("index-bands", {"row": np.full(22, 1, np.uint32)}, "a key of row 1, and its documents are 1"),
        ("index-bands", {"row": np.full(22, 0, np.int64)}, "`row` must have 22 values of <u4, it has 22 of"),
        ("index-bands", {"row": np.zeros(21, np.uint32)}, "it has 21 of <u4"),
        ("index-members", {"end": np.full(1, 1 << 40, np.uint64)}, "shingles do not lie end to end"),
        ("index-members", {"num_shingles": np.zeros(1, np.uint64)}, "shingles do not lie end to end"),
        ("index-members", {"root": np.full(1, 7, np.uint64)}, "its documents are not in their order"),
        ("index-members", {"shingles": np.zeros(3, np.float64)}, "has no column `shingles` of <u8"),
        ("index-members", {"rank": np.zeros(0, np.uint64)}, "`rank` must have 1 values of <u8, it has 0"),
    ],
)
def test_an_index_whose_rows_are_no_documents_is_refused_by_name(
    tmp_path: Path, kind: str, columns: dict[str, npt.NDArray[Any]], said: str
) -> None:
    text = " ".join(page(1))
    settings = fuzzy(bands=22)
    old = run(tmp_path / "old", documents([text], keys=["old"]), [], settings)["dedup-fuzzy"]
    whole = changed(old, "", tmp_path / "whole")
    new = documents([text + " more"], keys=["new"])
    found = run(tmp_path / "new", new, [], fuzzy(bands=22, against=(str(whole),)))["dedup-fuzzy"]
    assert found.rows("documents") == 0
    folder = changed(old, kind, tmp_path / "changed", **columns)
    with pytest.raises(StepFailed) as told:
        run(tmp_path / "other", new, [], fuzzy(bands=22, against=(str(folder),)))
    assert said in str(told.value) and "the index of an earlier deduplication is damaged" in str(told.value)
    assert "get the index again" in str(told.value)


def test_keys_of_an_index_that_are_not_sorted_are_refused(tmp_path: Path) -> None:
    """Found by a block's first key: those of a block that lie in another place."""
    key, row = np.arange(10_000, dtype=np.uint64), np.zeros(10_000, np.uint32)
    for number, order in enumerate((key[::-1], np.concatenate([key[:5000], key[5000:][::-1]]))):
        path = tmp_path / str(number)
        write_run(path, {"key": np.sort(key), "row": row, "first_row": np.zeros(1, np.uint64)})
        data = path.read_bytes()
        path.write_bytes(data.replace(np.sort(key).tobytes(), order.tobytes()))
        with pytest.raises(IntegrityError, match="its keys are not sorted"):
            for low in range(0, 10_000, 1000):
                cluster_bands([], low, low + 1000, tmp_path / "forest", [(path, 0, 1)])
