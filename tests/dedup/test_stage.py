from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.settings.parts import LineSettings
from gristmill.errors import GristmillError
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.report.sections.duplicates import duplicates_section
from tests.support.dedup_drive import documents
from tests.support.dedup_stages import digests, made_stage, read, run
from tests.support.made_stage import MadeSlice
from tests.support.made_texts import corpus

__all__ = ["made_stage"]  # the fixture that names the stage of made documents


TABLE = documents(corpus(300, 5) + corpus(60, 5))
SMALL = MadeSlice(fuzzy=FuzzySettings(part_records=2000, group_documents=20))


def test_the_stages_keep_remove_decide_and_balance(tmp_path: Path) -> None:
    manifests = run(tmp_path / "out", TABLE, [100, 1, 120], SMALL)
    exact, fuzzy = manifests["dedup-exact"], manifests["dedup-fuzzy"]
    assert exact.books is not None and exact.books.by_rule_first["dedup.exact"] >= 60
    assert fuzzy.books is not None and fuzzy.books.by_rule_first["dedup.fuzzy"] > 20
    assert len(read(fuzzy, "decisions")) == exact.books.items_out["kept"]
    assert len(read(fuzzy, "pairs")) == fuzzy.extra["compared"]
    kinds = {entry.kind for manifest in (exact, fuzzy) for entry in manifest.files}
    assert kinds == {"documents", "documents-index", "removed", "removed-index", "decisions", "pairs"}
    assert {path.suffix for manifest in (exact, fuzzy) for path in (manifest.folder / "data").iterdir()} == {
        ".parquet",
        ".idx",
    }
    assert list(verify(tmp_path / "out")) == []


def test_the_records_hold_what_was_compared_accepted_and_rejected(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"fuzzy": SMALL.fuzzy.model_copy(update={"bands": 100, "rows": 2})})
    fuzzy = run(tmp_path / "out", TABLE, [100, 1, 120], settings)["dedup-fuzzy"]
    view = read_view(tmp_path / "out")
    (totals,) = (step.totals for step in view.steps if step.name == "dedup-fuzzy")
    pairs = read(fuzzy, "pairs")
    accepted, scored = np.asarray(pairs["accepted"]), np.asarray(pc.is_valid(pairs["score"]))
    found = totals.histograms["pair_similarity"]
    for kind, inside in (("accepted", accepted), ("rejected", scored & ~accepted), ("unread", ~scored)):
        assert totals.counts[f"pairs_{kind}"] == sum(found[kind]) == inside.sum() > 0
    bound = found["bins"].index(settings.fuzzy.threshold)
    assert not any(found["accepted"][:bound]) and not any(found["rejected"][bound:])
    known = {(row["id"].hex(), row["kept_id"].hex()): row for row in pairs.to_pylist()}
    for outcome in ("accepted", "rejected"):
        assert len(totals.pairs[outcome]) == 8
        for pair in totals.pairs[outcome]:
            row = known[pair["id"], pair["kept_id"]]
            assert (pair["score"], pair["estimate"], pair["accepted"]) == (
                row["score"],
                row["estimate"],
                outcome == "accepted",
            )
    section = duplicates_section(view)
    assert section is not None and all(pair["id"] in section.body for pair in totals.pairs["rejected"])


def test_shuffled_and_cut_otherwise_the_same_documents_are_kept(tmp_path: Path) -> None:
    first = run(tmp_path / "a", TABLE, [100], SMALL)
    shuffled = TABLE.take(pa.array(random.Random(2).sample(range(len(TABLE)), len(TABLE))))
    second = run(tmp_path / "b", shuffled, [33, 100, 7], SMALL)
    for kind in ("documents", "removed", "decisions"):
        assert read(first["dedup-fuzzy"], kind).equals(read(second["dedup-fuzzy"], kind))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_ray_writes_the_same_bytes(tmp_path: Path, workers: int) -> None:
    expected = digests(run(tmp_path / "out", TABLE, [100, 1, 120], SMALL))
    (tmp_path / "ray-in").symlink_to(tmp_path / "out-in")
    again = run(tmp_path / "ray", TABLE, [], SMALL, "ray", workers)
    assert digests(again) == expected


def test_a_source_that_would_be_wiped_out_stops_the_run_with_its_clusters_unless_allowed(
    tmp_path: Path,
) -> None:
    table = documents(["the same page"] * 60 + ["another"], source=["web"] * 60 + ["books"])
    loud = ExactSettings(alarm_documents=50)
    with pytest.raises(GristmillError, match="wipe out a source: `web` loses 59 of 60 documents") as caught:
        run(tmp_path / "out", table, [60], MadeSlice(exact=loud))
    assert "60 documents stand behind" in str(caught.value) and "allow_wipe_out" in str(caught.value)
    allowed = run(
        tmp_path / "out", table, [], MadeSlice(exact=loud.model_copy(update={"allow_wipe_out": True}))
    )
    assert len(read(allowed["dedup-fuzzy"], "documents")) == 2


def test_lines_are_cut_as_a_stage_and_the_books_balance(tmp_path: Path) -> None:
    texts = [
        f"Page {number} says one thing. And two. And three.\nThe same footer everywhere."
        for number in range(30)
    ]
    manifests = run(tmp_path / "out", documents(texts), [10], MadeSlice(pieces=LineSettings()))
    lines = manifests["dedup-lines"]
    assert lines.extra["cut"] == 29 and lines.books is not None
    assert lines.books.bytes_out["deleted"] == 29 * len("\nThe same footer everywhere.")
    assert sum("footer" in text for text in read(lines, "documents")["text"].to_pylist()) == 1
    assert list(verify(tmp_path / "out")) == []


def test_the_alarm_is_no_part_of_a_step_s_identity() -> None:
    quiet = ExactSettings(alarm_fraction=0.1, allow_wipe_out=True)
    assert quiet.model_dump() == ExactSettings().model_dump()
