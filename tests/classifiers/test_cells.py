"""Topics and quality buckets in a recipe: columns, removals in the books, one table of cells, `why`."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.manifest import Manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.door.opened import open_run
from gristmill.pipeline.look.cells import cell_rows
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.mix import MixFacts
from tests.classifiers.test_topics import WORDS, planted

RECIPE: dict[str, Any] = {
    "name": "cells",
    "seed": 3,
    "shard_bytes": 20_000,
    "sources": {"web": {"inputs": "web-*.jsonl", "passthrough": {"stars": "float64", "ads": "float64"}}},
    "topics": {"number": 3, "dimensions": 8, "fine_clusters": 24},
    "quality": {
        "columns": {"stars": "higher", "ads": "lower"},
        "buckets": 10,
        "within": "topic",
        "keep_from": 2,
    },
    "tokenizer": {"vocab_size": 400, "kind": "byte-bpe"},
    "mix": {
        "weights": {"web": {"curve": "olmo-3"}},
        "tokens": 90_000,
        "heldout_fraction": 0.05,
        "shard_tokens": 20_000,
    },
}


def gristmill(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 0


def write_inputs(folder: Path, files: int) -> None:
    draw = np.random.default_rng(8)
    rows = [
        {
            "id": str(n),
            "text": row["text"],
            "stars": float(star),
            "ads": float(draw.random()),
            "kind": row["kind"],
        }
        for n, (row, star) in enumerate(zip(planted(600).to_pylist(), draw.permutation(600), strict=True))
    ]
    for part in range(files):
        lines = [json.dumps(row) for row in rows[part::files]]
        (folder / f"web-{part}.jsonl").write_text("\n".join(lines) + "\n")


def made(folder: Path, files: int = 2) -> dict[str, Manifest]:
    write_inputs(folder, files)
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        gristmill("run", "recipe.yaml", "--out", "out", "--quiet", "--engine", "inline")
    return finished_steps(folder / "out")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Manifest]]:
    folder = tmp_path_factory.mktemp("cells")
    return folder / "out", made(folder)


def rows_of(manifest: Manifest, outlet: str = "documents") -> list[dict[str, Any]]:
    return pa.concat_tables(
        [pq.read_table(path) for path in manifest.paths(outlet)], promote_options="default"
    ).to_pylist()


def test_documents_carry_topic_and_bucket(run: tuple[Path, dict[str, Manifest]]) -> None:
    _, steps = run
    kept, gone = (rows_of(steps["quality/web"], outlet) for outlet in ("documents", "removed"))
    assert {row["quality_bucket"] for row in kept} == set(range(2, 10))
    assert {(row["rule"], row["bound"]) for row in gone} == {("quality.bucket", 2.0)}
    assert {row["quality_bucket"] for row in gone} == {0, 1} == {row["value"] for row in gone}
    topic_of = {
        (row["topic"], next(k for k, v in WORDS.items() if row["text"].split()[0] in v)) for row in kept
    }
    assert len(topic_of) == 3  # one topic for each vocabulary
    books = steps["quality/web"].books
    assert books and books.by_rule_first == Counter({"quality.bucket": len(gone)})


def test_a_bucket_is_the_higher_of_two_ranks_within_the_topic(run: tuple[Path, dict[str, Manifest]]) -> None:
    _, steps = run
    rows = [row for outlet in ("documents", "removed") for row in rows_of(steps["quality/web"], outlet)]
    for topic in {row["topic"] for row in rows}:
        mine = [row for row in rows if row["topic"] == topic]
        assert len(mine) == 200
        for row in mine:
            ranks = (
                sum(other["stars"] < row["stars"] for other in mine),
                sum(other["ads"] > row["ads"] for other in mine),
            )
            assert row["quality_bucket"] == max(ranks) * 10 // 200


def test_cells_count_documents_bytes_and_tokens(run: tuple[Path, dict[str, Manifest]]) -> None:
    out, steps = run
    ranked = [row for outlet in ("documents", "removed") for row in rows_of(steps["quality/web"], outlet)]
    index = rows_of(steps["encode/web"], "token-index")
    rows = cell_rows(steps)
    assert {row["topic"] for row in rows} == {row["topic"] for row in ranked}
    for row in rows:
        cell = row["topic"], row["bucket"]
        mine = [each for each in ranked if (each["topic"], each["quality_bucket"]) == cell]
        assert row["documents"] == len(mine)
        assert row["bytes"] == sum(len(each["text"].encode()) for each in mine)
        tokens = [each["tokens"] for each in index if (each["topic"], each["quality_bucket"]) == cell]
        assert row["tokens"] == (sum(tokens) if tokens else None)
    assert open_run(out).cells().to_pylist() == rows


def test_the_mixture_takes_each_cell_as_often_as_its_curve_says(
    run: tuple[Path, dict[str, Manifest]],
) -> None:
    out, steps = run
    index = {row["id"]: row for row in rows_of(steps["encode/web"], "token-index")}
    facts, rows = steps["mix"].stated(MixFacts), [row for row in cell_rows(steps) if row["tokens"]]
    shards = open_run(out).shards()
    copies = Counter(bytes(id_) for shard in range(len(shards.shards)) for id_ in shards.doc_ids(shard))
    for row in rows:
        cell = row["topic"], row["bucket"]
        mine = [each for each in index.values() if (each["topic"], each["quality_bucket"]) == cell]
        drawn = [copies[each["id"]] for each in mine]
        assert max(drawn) <= math.ceil(row["weight"]) + 1
        assert (row["weight"] == 0) == (row["taken"] == 0)
    assert facts.tokens == sum(row["taken"] for row in rows) == 90_000
    for topic in {row["topic"] for row in rows}:
        weights = [row["weight"] for row in rows if row["topic"] == topic]
        assert weights == sorted(weights) and 0.0 in weights and max(weights) <= 7.001
    by_weight = sum(row["tokens"] * row["weight"] for row in rows)
    assert by_weight == pytest.approx(90_000, rel=0.1)  # held-out documents are in `tokens`, not in the plan
    books = steps["mix"].books
    assert books and books.by_rule_first["mix.curve"] > 0


def test_the_table_is_printed_and_as_json(
    run: tuple[Path, dict[str, Manifest]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, steps = run
    main_rows = cell_rows(steps)
    with pytest.raises(SystemExit):
        main(["classify", "cells", str(out)])
    said = capsys.readouterr().out
    assert "0-1" in said and "8-9" in said and "600" in said
    with pytest.raises(SystemExit):
        main(["classify", "cells", str(out), "--json"])
    assert json.loads(capsys.readouterr().out)["cells"] == main_rows


def test_why_names_topic_and_bucket(run: tuple[Path, dict[str, Manifest]]) -> None:
    out, steps = run
    row = rows_of(steps["quality/web"])[0]
    events = {event.step: event.facts for event in open_run(out).why(row["id"].hex()).events}
    assert events["topics/web"]["topic"] == row["topic"]
    assert events["quality/web"]["quality_bucket"] == row["quality_bucket"]
    assert events["quality/web"]["score_stars"] == row["stars"]
    weights = {(each["topic"], each["bucket"]): each["weight"] for each in cell_rows(steps)}
    lowest = next(each for each in rows_of(steps["quality/web"]) if each["quality_bucket"] == 2)
    for asked in (row, lowest):
        weight = weights[asked["topic"], asked["quality_bucket"]]
        facts = open_run(out).why(asked["id"].hex()).events[-1].facts
        assert facts["weight of its cell"] == weight
        assert facts["cell"] == f"{asked['topic']}, bucket {asked['quality_bucket']}"
    assert facts["note"] == "its curve takes its cell never" and weight == 0
    gone = rows_of(steps["quality/web"], "removed")[0]
    life = open_run(out).why(gone["id"].hex())
    assert life.verdict.startswith("removed at quality/web by quality.bucket: ")


def test_how_documents_lie_in_files_changes_neither_topics_nor_buckets(
    run: tuple[Path, dict[str, Manifest]], tmp_path: Path
) -> None:
    _, steps = run
    others = made(tmp_path, files=5)
    for name in ("topics/web", "quality/web"):
        ours, theirs = (
            {
                row["id"]: (row.get("topic"), row.get("topic_score"), row.get("quality_bucket"))
                for row in rows_of(m)
            }
            for m in (steps[name], others[name])
        )
        assert ours == theirs


def test_the_page_shows_topics_and_cells(run: tuple[Path, dict[str, Manifest]]) -> None:
    out, _ = run
    page = (out / "report.html").read_text()
    assert "Topics and quality" in page and "telling words" in page and "buckets 8-9" in page


def test_a_column_or_topic_that_no_step_makes_is_refused_when_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.errors import RecipeError
    from gristmill.pipeline.recipe.file import make_recipe
    from gristmill.pipeline.recipe.plan import build_plan

    write_inputs(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    recipe = {**RECIPE, "quality": {"columns": {"likes": "higher"}}}
    with pytest.raises(RecipeError, match=r"`quality.columns.likes` names the number `likes`"):
        build_plan(make_recipe(recipe))
    recipe = {name: section for name, section in RECIPE.items() if name != "topics"}
    with pytest.raises(RecipeError, match=r"`quality.within` names the column `topic`"):
        build_plan(make_recipe(recipe))
