"""Shares, signal histograms and score histograms of a page are those that DuckDB counts in the data files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from gristmill.filters.presets import PRESETS
from gristmill.pipeline.look.printing.figures import share
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.printed_page import Printed
from tests.support.small_recipe import recipe, write_inputs

duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("figures")
    write_inputs(folder)
    sources = {
        "web": {"inputs": [str(folder / "web-*.warc.gz")]},
        "prose": {"inputs": [str(folder / "prose.jsonl")], "filter": False},
    }
    said = recipe(sources=sources)
    said = {key: said[key] for key in said if key not in ("tokenizer", "mix", "ngram", "coverage")}
    run_plan(
        build_plan(make_recipe(said)), folder / "out", EngineSettings(kind="inline"), Progress(quiet=True)
    )
    yield folder / "out"


def files_of(out: Path, step: str, kind: str) -> list[str]:
    entries = json.loads((out / "run.json").read_text())["steps"]
    (entry,) = [entry for entry in entries if entry["name"] == step]
    manifest = json.loads((out / entry["folder"] / "manifest.json").read_text())["body"]
    return [str(out / entry["folder"] / file["path"]) for file in manifest["files"] if file["kind"] == kind]


def ask(question: str, *values: Any) -> list[tuple[Any, ...]]:
    return list(duckdb.connect().execute(question, list(values)).fetchall())


def rows_in(files: list[str]) -> int:
    return int(ask("select count(*) from read_parquet(?)", files)[0][0]) if files else 0


def came_to(out: Path, step: str) -> int:
    return sum(rows_in(files_of(out, step, kind)) for kind in ("documents", "removed", "failed"))


def records(out: Path) -> int:
    """The records of the archives by warcio, and the lines of the text file."""
    found = 0
    for path in out.parent.glob("web-*.warc.gz"):
        with path.open("rb") as file:
            found += sum(1 for _ in ArchiveIterator(file))
    return found + len((out.parent / "prose.jsonl").read_text().splitlines())


def test_a_rule_is_shown_as_a_share_of_those_that_came_to_its_stage(out: Path) -> None:
    page = Printed(write_report(out).read_text())
    head, *rows = page.tables["rules"][0]
    came = {
        "extracted": records(out),
        "filtered": came_to(out, "filter/web"),
        "exact dedup": came_to(out, "dedup-exact"),
        "near dedup": came_to(out, "dedup-fuzzy"),
        "quality": came_to(out, "classify-score/web"),
    }
    removed: dict[tuple[str, str], int] = {}
    steps = ("extract/web", "filter/web", "dedup-exact", "dedup-fuzzy", "classify-score/web")
    for stage, step in zip(came, steps, strict=True):
        if files := files_of(out, step, "removed"):
            counted = ask("select rule, count(*) from read_parquet(?) group by rule", files)
            removed |= {(stage, rule): number for rule, number in counted}
    shown = {(row[head.index("stage")], row[head.index("rule")]): row for row in rows}
    assert {stage for stage, _ in removed} >= {"filtered", "quality"}
    for (stage, rule), number in removed.items():
        row = shown[stage, rule]
        assert row[head.index("removed first")] == f"{number:,}"
        assert row[head.index("of those that came")] == share(number, came[stage])


def test_signal_histograms_are_the_signals_counted(out: Path) -> None:
    signals = files_of(out, "filter/web", "signals")
    kept = files_of(out, "filter/web", "documents")
    histograms = {
        name.removeprefix("rule:"): histogram
        for step in read_view(out).of_stage("filter")
        for name, histogram in step.totals.histograms.items()
    }
    tested = 0
    for preset in ("gopher", "c4-code"):
        for rule in PRESETS[preset].rules:
            if not rule.bins:
                continue
            column, per = (name and f'"v0.{preset}.{name}"' for name in (rule.signal, rule.per))
            value = f"case when {per} = 0 then 0 else {column}::double / {per} end" if per else column
            cases = " + ".join(f"({value} >= {edge})::int" for edge in rule.bins)
            counted = ask(
                f"select {cases} as bin, id in (select id from read_parquet(?)) as stays, count(*)"
                f' from read_parquet(?) where "v0.{preset}.applies" group by all',
                kept,
                signals,
            )
            for stays, outlet in ((True, "kept"), (False, "removed")):
                wanted = [0] * (len(rule.bins) + 1)
                for place, is_kept, number in counted:
                    if is_kept is stays:
                        wanted[place] += number
                assert histograms[rule.name][outlet] == wanted, rule.name
            tested += 1
    assert tested > 10


def test_score_histograms_and_groups_are_the_scores_counted(out: Path) -> None:
    (step,) = read_view(out).of_stage("classify-score")
    histogram = step.totals.histograms["classify.score"]
    page = Printed(write_report(out).read_text())
    languages: dict[str, list[int]] = {}
    for outlet, kind in (("kept", "documents"), ("removed", "removed")):
        files = files_of(out, "classify-score/web", kind)
        wanted = [0] * 20
        for place, number in ask(
            "select least(floor(quality_score::double * 20 + 1e-9), 19)::int as bin, count(*)"
            " from read_parquet(?) where quality_score is not null group by bin",
            files,
        ):
            wanted[place] += number
        assert sum(histogram[outlet]) == sum(wanted)
        assert sum(abs(mine - other) for mine, other in zip(histogram[outlet], wanted, strict=True)) <= 2
        for language, number in ask(
            "select coalesce(language, 'unknown'), count(*) from read_parquet(?) group by all", files
        ):
            languages.setdefault(language, [0, 0])[outlet == "removed"] += number
    kept, removed = (sum(row[side] for row in languages.values()) for side in (0, 1))
    assert f"{kept:,} of {kept + removed:,} documents stay" in page.text["quality"]
    tables = [table for table in page.tables["quality"] if table[0][:3] == ["language", "documents", "kept"]]
    assert {row[0]: row[1:3] for row in tables[0][1:]} == {
        language: [f"{sum(both):,}", share(both[0], sum(both))] for language, both in languages.items()
    }


def test_keep_rules_sort_as_numbers(out: Path) -> None:
    page = Printed(write_report(out).read_text())
    for name in ("pareto, alpha", "threshold"):
        (table,) = [table for table in page.tables["quality"] if table[0][0] == name]
        settings = [float(row[0]) for row in table[1:]]
        assert settings == sorted(settings) and len(settings) > 5
