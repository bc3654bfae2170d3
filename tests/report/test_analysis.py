"""`analyze` measures and removes nothing: keep rates, correlations, languages, duplicates, attributes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.errors import UsageError
from gristmill.files.parquet import read_parquet
from gristmill.filters.passes import compile_filters
from gristmill.filters.recut import recut_filters
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.analysis import analyse
from gristmill.pipeline.look.attributes import write_attributes
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import finished_steps
from tests.support.filter_documents import documents

PRESETS = ("gopher", "c4-code", "fineweb")
TEXTS = [
    *(
        "The wind of the sea and the sand have been with us. " * 8 + f"Number {n} ends here."
        for n in range(5)
    ),
    "Too short.",
    "Too short.",
    "Menu\nHome\nAbout\n" * 20,
    "A page with { brackets and the words of that and more than it. " * 8,
]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysed")
    rows = [
        {"id": str(n), "text": text, "url": f"http://host{n % 2}.example/{n}"} for n, text in enumerate(TEXTS)
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["analyze", folder / "in.jsonl", "--preset", ",".join(PRESETS), "--engine", "inline"]
    with pytest.raises(SystemExit) as exit_:
        main(
            [str(word) for word in (*command, "--out", folder / "out", "--attributes", folder / "attributes")]
        )
    assert not exit_.value.code
    return folder / "out"


def test_nothing_is_removed_or_edited_and_books_balance(out: Path) -> None:
    assert not list(verify(out))
    manifest = finished_steps(out)["filter/input"]
    (entry,) = manifest.named("documents")
    assert sorted(read_parquet(manifest.folder / entry.path)["text"].to_pylist()) == sorted(TEXTS)


def test_each_preset_would_keep_what_it_keeps_alone(out: Path) -> None:
    found = analyse(out)
    table = documents(TEXTS, None)
    for preset in PRESETS:
        alone = compile_filters(FilterSettings(presets=(preset,)), 1).apply(table).kept.num_rows
        assert found.passed[preset][None] == alone, preset
    assert found.documents == len(TEXTS) and found.duplicates == 1
    assert found.domains == {"host0.example": 5, "host1.example": 4}
    assert sum(found.lengths.values()) == len(TEXTS) == sum(found.languages.values())


def test_correlations_are_those_of_numpy(out: Path) -> None:
    found = analyse(out)
    manifest = finished_steps(out)["filter/input"]
    (entry,) = manifest.named("signals")
    signals = read_parquet(manifest.folder / entry.path)
    pair = ("gopher.words", "fineweb.text_lines")
    columns = [signals[name].to_numpy() for name in ("v0.gopher.content_words", "v1.fineweb.text_lines")]
    one, other = (found.rules.index(name) for name in pair)
    num = found.documents
    covariance = found.products / num - np.outer(found.means, found.means)
    r = covariance[one, other] / np.sqrt(covariance[one, one] * covariance[other, other])
    assert r == pytest.approx(np.corrcoef(*columns)[0, 1])
    assert all(abs(value) >= 0.8 for *_, value in found.correlations())


def test_attributes_are_in_dolmas_layout(out: Path, tmp_path: Path) -> None:
    assert write_attributes(out, tmp_path, "mine") == len(TEXTS)
    (path,) = (tmp_path / "mine").glob("*.jsonl.gz")
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    by_words = sorted(row["attributes"]["mine__gopher__words"][0][2] for row in rows)
    assert by_words == sorted(len(text.split()) for text in TEXTS)
    row = max(rows, key=lambda row: row["attributes"]["mine__gopher__words"][0][1])
    assert row["attributes"]["mine__gopher__words"][0][:2] == [0, max(map(len, TEXTS))]


def test_a_sample_by_hash_is_a_share_of_documents(tmp_path: Path) -> None:
    table = documents([f"text {n}" for n in range(400)])
    kept: list[set[Any]] = []
    for share in (0.1, 0.5, 1.0):
        outcome = compile_filters(FilterSettings(sample=share), 1).apply(table)
        kept.append(set(outcome.kept["id"].to_pylist()))
        assert len(kept[-1]) == pytest.approx(400 * share, abs=40)
    assert kept[0] < kept[1] < kept[2]


def test_what_was_annotated_can_be_decided_later_unless_a_filter_edits() -> None:
    annotated = FilterSettings(presets=("gopher",), annotate=True)
    recut_filters(annotated, FilterSettings(presets=("gopher",)), 1)
    edits = FilterSettings(presets=("c4-code", "gopher"), annotate=True)
    with pytest.raises(UsageError, match="cannot switch `annotate`"):
        recut_filters(edits, FilterSettings(presets=("c4-code", "gopher")), 1)


def test_a_run_that_did_not_annotate_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(SystemExit):
        main(["filter", str(tmp_path / "in.jsonl"), "--preset", "gopher", "--out", str(tmp_path / "out")])
    with pytest.raises(UsageError, match="no filters that annotate"):
        analyse(tmp_path / "out")


def analysed(folder: Path, *options: str) -> int:
    """Analyse texts in four shards, and return the exit code."""
    rows = [{"id": str(n), "text": f"{TEXTS[0]} {n}"} for n in range(40)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["analyze", folder / "in.jsonl", "--engine", "inline", "--quiet", "--set", "shard_bytes=5000"]
    with pytest.raises(SystemExit) as exit_:
        main([str(word) for word in (*command, "--out", folder / "out", *options)])
    return int(exit_.value.code or 0)


def test_shards_that_a_sample_leaves_empty_are_analysed_like_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    further = ("--attributes", str(tmp_path / "attributes"), "--thresholds", str(tmp_path / "thresholds"))
    assert not analysed(tmp_path, "--sample", "0.05", *further)
    manifest = finished_steps(tmp_path / "out")["filter-2/input"]
    held = [entry.rows for entry in manifest.written()]
    assert 0 in held and sum(held)  # some shards are empty, some are not
    assert analyse(tmp_path / "out").documents == sum(held)
    assert f"{sum(held)} rows of attributes" in capsys.readouterr().out


def test_a_sample_of_no_document_is_analysed_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    further = ("--attributes", str(tmp_path / "attributes"), "--thresholds", str(tmp_path / "thresholds"))
    assert not analysed(tmp_path, "--sample", "0.000001", *further)
    told = capsys.readouterr().out
    assert told.startswith("0 documents") and "0 rows of attributes" in told


def test_a_sample_of_nothing_is_refused_and_does_not_stand_for_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analysed(tmp_path, "--sample", "0") == 2
    assert "greater than 0" in capsys.readouterr().err
