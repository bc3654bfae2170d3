"""N-gram and coverage steps in a recipe: counts over what earlier steps left, columns, removals in the books,
plain files."""

from __future__ import annotations

import functools
import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram.perplexity import NgramModel
from gristmill.heldout import for_training, only_heldout
from gristmill.manifest import Manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.records.final import final_documents
from gristmill.urls import domain_of
from tests.support.classified import CODE, TEXTS
from tests.support.ngram_lookup import as_found, look_up
from tests.support.ngram_truth import brute_force, key

RECIPE: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "shard_bytes": 60_000,
    "sources": {"web": {"inputs": "web.jsonl"}, "prose": {"inputs": "prose.jsonl", "dedup": False}},
    "dedup": {"exact": {}},
    "classify": {
        "positives": ["prose"],
        "negatives": ["web"],
        "classifier": {"keep": {"rule": "top_fraction", "fraction": 0.8}},
    },
    "ngram": {
        "train_on": ["prose", "web"],
        "apply_to": ["web"],
        "model": {"order": 3, "min_count": 1},
        "buckets": {"head_fraction": 0.5, "tail_fraction": 0.25, "keep": ["head", "middle"]},
        "heldout_fraction": 0.2,
    },
    "coverage": {"apply_to": ["web"], "max_per_domain": 9, "newest": "2021-12-31"},
}


def gristmill(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--quiet", "--engine", "inline"])
    assert ended.value.code == 0


def write_inputs(folder: Path) -> None:
    rows = [
        {
            "id": str(n),
            "url": f"http://{'abc'[n % 3]}.example/{n}",
            "date": f"{2020 + n % 3}-06-01",
            "text": text,
        }
        for n, text in enumerate(TEXTS[:40] + CODE[:20])
    ]
    (folder / "web.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "prose.jsonl").write_text(
        "\n".join(json.dumps({"id": str(n), "text": text}) for n, text in enumerate(TEXTS[40:70]))
    )


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    folder = tmp_path_factory.mktemp("stages")
    write_inputs(folder)
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        gristmill("run", "recipe.yaml", "--out", "out")
    return finished_steps(folder / "out")


def documents(manifest: Manifest, source: str | None = None) -> pa.Table:
    entries = [entry for entry in manifest.named("documents") if source in (None, entry.source)]
    return pa.concat_tables([pq.read_table(manifest.folder / entry.path) for entry in entries])


def test_counts_equal_brute_force_over_what_the_steps_before_left(steps: dict[str, Manifest]) -> None:
    """What the classifier removed of web must not be counted, and what it kept only once."""
    texts: list[str] = []
    for table in (documents(steps["extract/prose"]), documents(steps["classify-score/web"], "web")):
        texts += for_training(table, 3, 0.2)["text"].to_pylist()
    truth = {key(gram): count for gram, count in brute_force(texts, order=3).items()}
    model = NgramModel(steps["ngram-train"].folder / "model")
    keys = np.array(sorted(truth), np.uint64)
    codes = ngrams.quantise(np.array([truth[each] for each in sorted(truth)]))
    lines = steps["ngram-train"].folder / "model" / ngrams.LINES
    assert (look_up(lines, int(model.card["lines"]), keys, 1) == as_found(codes[:, None])).all()
    assert steps["ngram-train"].extra["kept"] == len(keys)
    assert steps["ngram-train"].extra["words"] == model.card["words"]


def test_scored_documents_carry_perplexity_and_bucket(steps: dict[str, Manifest]) -> None:
    pytest.importorskip("pycld2")  # resiliparse is less sure of the language of texts as short
    model = NgramModel(steps["ngram-train"].folder / "model")
    kept = documents(steps["ngram-score/web"])
    assert kept["perplexity"].combine_chunks().equals(model.perplexity(kept)) and set(
        kept["bucket"].to_pylist()
    ) == {
        "head",
        "middle",
    }
    gone = pa.concat_tables([pq.read_table(path) for path in steps["ngram-score/web"].paths("removed")])
    assert set(gone["rule"].to_pylist()) == {"ngram.tail"} and set(gone["bucket"].to_pylist()) == {"tail"}
    for row in gone.to_pylist():
        assert (
            row["value"]
            > row["bound"]
            == steps["ngram-score/web"].extra["language_bounds"][row["language"] or ""][1]
        )
    books = steps["ngram-score/web"].books
    assert books and books.by_rule_first == Counter({"ngram.tail": gone.num_rows})
    decided = pa.concat_tables([pq.read_table(path) for path in steps["ngram-score/web"].paths("decisions")])
    assert Counter(decided["decision"].to_pylist()) == {"kept": kept.num_rows, "removed": gone.num_rows}


def test_held_out_documents_are_scored_by_source_and_written_as_a_file(steps: dict[str, Manifest]) -> None:
    (path,) = steps["ngram-heldout"].paths("ngram-heldout")
    rows = {row["source"]: row for row in json.loads(path.read_bytes())}
    assert list(rows.values()) == steps["ngram-heldout"].extra["heldout"]
    for part in final_documents({name: step for name, step in steps.items() if name != "ngram-heldout"}):
        held = only_heldout(pa.concat_tables([pq.read_table(path) for path, _ in part.files]), 3, 0.2)
        row = rows.get(part.source, {"docs": 0, "bytes": 0})  # a source without any has no row
        assert row["docs"] == held.num_rows
        assert row["bytes"] == sum(len(text.encode()) for text in held["text"].to_pylist())
    assert sum(row["docs"] for row in rows.values()) > 0


def test_caps_and_ages_are_in_the_books_and_in_the_table(steps: dict[str, Manifest]) -> None:
    before, after = documents(steps["ngram-score/web"]), documents(steps["coverage/web"])
    books = steps["coverage/web"].books
    of_age = [row["url"] for row in before.to_pylist() if row["date"].year < 2022]
    hosts, left = Counter(map(domain_of, of_age)), Counter(map(domain_of, after["url"].to_pylist()))
    assert left == {host: min(9, count) for host, count in hosts.items()} and max(hosts.values()) > 9
    assert books and books.by_rule_first == {
        "coverage.age": before.num_rows - len(of_age),
        "coverage.domain": len(of_age) - after.num_rows,
    }
    (path,) = steps["coverage/web"].paths("coverage")
    rows = [row for row in pq.read_table(path).to_pylist() if row["what"] == "domain"]
    assert {row["value"]: row["documents"] for row in rows} == left


@pytest.mark.parametrize(
    "step", ["models.ngram_score:score_file", "coverage:tally_file", "coverage:keep_file"]
)
def test_a_file_that_is_lost_where_the_recipe_allows_it_costs_its_documents_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    module, _, name = step.partition(":")
    stage = module.rpartition(".")[2]
    section = stage.partition("_")[0]
    recipe = {key: RECIPE[key] for key in ("name", "sources", section)} | {"shard_bytes": 20_000}
    (tmp_path / "recipe.yaml").write_text(json.dumps({**recipe, "limits": {"quarantined_shards": 1}}))
    function = getattr(importlib.import_module(f"gristmill.pipeline.phases.{module}"), name)

    @functools.wraps(function)
    def broken(task: Attempt, path: str, **arguments: Any) -> None:
        if "-00001-" in Path(path).name:
            raise OSError("gone")
        function(task, path=path, **arguments)

    monkeypatch.setattr(f"gristmill.pipeline.phases.{module}.{name}", broken)
    gristmill("run", "recipe.yaml", "--out", "out", "--set", "engine.retries=0")
    found = finished_steps(tmp_path / "out")
    (lost,) = [manifest for manifest in found.values() if manifest.lost]
    files = found["extract/web"].paths("documents")
    assert lost.step == f"{stage.replace('_', '-')}/web" and len(files) > 2
    assert lost.books and lost.books.items_in == sum(pq.read_metadata(file).num_rows for file in files)
    assert lost.books.items_out["lost"] == pq.read_metadata(files[1]).num_rows
    assert sum(table.num_rows for table in map(pq.read_table, lost.paths("documents"))) > 0


def test_a_changed_rule_keeps_the_models(
    steps: dict[str, Manifest], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(steps["extract/web"].folder.parents[2])
    for change, stale in (
        (
            "classify.classifier.keep.fraction=0.5",
            {"classify-score/web", "ngram-train", "ngram-score/web", "coverage/web", "ngram-heldout"},
        ),
        ("ngram.buckets.keep=[head]", {"ngram-score/web", "coverage/web", "ngram-heldout"}),
        ("coverage.max_per_domain=3", {"coverage/web", "ngram-heldout"}),
    ):
        with pytest.raises(SystemExit):
            main(["plan", "recipe.yaml", "--out", "out", "--json", "--set", change])
        states = json.loads(capfd.readouterr().out)
        assert {state["step"] for state in states if state["state"] != "done"} == stale


def test_verbs_take_plain_files_and_the_outputs_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    gristmill(
        "ngram", "train", "prose.jsonl", "--order", "2", "--out", "lm", "--set", "ngram.heldout_fraction=0.2"
    )
    assert "held-out source" in capfd.readouterr().out
    gristmill("ngram", "score", "lm", "web.jsonl", "--keep", "head", "--out", "head")
    gristmill("coverage", "head", "--max-per-domain", "2", "--out", "even")
    assert "a.example" in capfd.readouterr().out
    even = finished_steps(tmp_path / "even")
    assert (
        documents(even["coverage/input"]).num_rows == 6
        and "perplexity" in documents(even["coverage/input"]).column_names
    )
