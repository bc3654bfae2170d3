"""What is printed at the end fits a terminal, tells the whole funnel, and is plain text in a pipe."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from gristmill.errors import UsageError
from gristmill.ledger import Books
from gristmill.manifest import Manifest
from gristmill.pipeline.demo.quickstart import run_demo, write_recipe
from gristmill.pipeline.demo.show import show_run, spell_bytes
from gristmill.pipeline.verbs.invoke import Options, load_recipe

ROOT = Path(__file__).resolve().parents[2]
RULES = {f"gopher-repetition.duplicate_{n}gram_fraction": 10 - n for n in range(5, 10)}


def manifest(name: str, books: Books | None = None, **extra: Any) -> Manifest:
    return Manifest(
        Path("run/steps", name),
        name,
        "0" * 64,
        {},
        (),
        (),
        books,
        extra,
        {"seconds": 83.0, "tokens_per_s": 5000.0},
    )


@pytest.fixture
def manifests() -> dict[str, Manifest]:
    extract = Books(3000, 7_690_000, created_bytes=3_490_000)
    extract.items_out.update(kept=1871, removed=145, failed=5, request=979)
    extract.bytes_out.update(kept=7_000_000, removed=600_000, failed=90_000)
    extract.by_rule_first.update({"extract.status": 145})
    extract.by_error.update({"timeout": 5})
    filtered = Books(1871, 3_490_000)
    filtered.items_out.update(kept=1856, removed=15)
    filtered.bytes_out.update(kept=3_000_000, removed=90_000, deleted=400_000)
    filtered.by_rule_first = Counter(RULES)
    row = {"name": "web", "tokens": 300, "bytes": 950, "docs": 3, "epochs": 1.25}
    evaluated = {"source": "web", "docs": 4, "loss": 8.3, "bits_per_byte": 3.9}
    summary = {"parameters": 3_400_000, "steps": 170, "tokens": 348_160, "device": "cpu"}
    evaluations = {"before": [evaluated], "after": [{**evaluated, "loss": 4.2, "bits_per_byte": 1.9}]}
    return {
        "extract/web": manifest("extract/web", extract),
        "filter/web": manifest("filter/web", filtered),
        "tokenizer": manifest("tokenizer"),
        "mix": manifest("mix", table=[row, {**row, "name": "code", "tokens": 100}]),
        "train": manifest("train", **summary, evaluations=evaluations),
    }


@pytest.fixture
def shown(manifests: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch) -> str:
    def complete(run: Path, prompts: list[str], *rest: Any, **more: Any) -> list[str]:
        return [" a list\nof \x1b[31mnames " + "and more " * 20]

    monkeypatch.setattr("gristmill.trainer.evaluation.generate.complete", complete)
    stream = io.StringIO()
    show_run(manifests, Path("run"), "The function returns", stream)
    return stream.getvalue()


def test_no_line_is_longer_than_80_columns(shown: str) -> None:
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_a_pipe_gets_no_colour_and_nothing_a_model_made_up_reaches_the_terminal(shown: str) -> None:
    assert "\x1b" not in shown


def test_the_funnel_names_documents_bytes_rules_and_errors(shown: str) -> None:
    for told in (
        "3,000",
        "1,871",
        "7.69 MB",
        "extract.status",
        "timeout",
        "request",
        "text extracted",
        "text edited away",
    ):
        assert told in shown


def test_long_names_of_rules_are_spelled_out(shown: str) -> None:
    assert "gopher-repetition.duplicate_5gram_fraction" in shown


def test_rules_beyond_the_largest_are_summed_up(manifests: dict[str, Manifest]) -> None:
    books = manifests["filter/web"].books
    assert books
    books.by_rule_first.update({"gopher.words": 1, "gopher.stop_words": 1})
    stream = io.StringIO()
    show_run({"filter/web": manifests["filter/web"]}, Path("run"), "", stream)
    assert "3 more" in stream.getvalue()


def test_the_mixture_shows_shares_that_sum_to_a_whole(shown: str) -> None:
    assert "75.0 %" in shown
    assert "25.0 %" in shown
    assert "1.25" in shown


def test_the_model_is_shown_before_and_after(shown: str) -> None:
    for told in ("3.4 M parameters", "8.300", "4.200", "3.900", "1.900", "The function returns a list of"):
        assert told in shown


def test_every_place_is_a_path_to_open(shown: str) -> None:
    assert "run/steps/train/train/run" in shown
    assert "run/steps/mix/shards/train" in shown


@pytest.mark.parametrize(
    ("count", "spelled"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_600, "1.00 MB"), (45_600_000, "45.6 MB")],
)
def test_sizes_have_three_digits(count: int, spelled: str) -> None:
    assert spell_bytes(count) == spelled


def test_the_recipe_is_valid_and_points_at_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    path = write_recipe(tmp_path)
    recipe = load_recipe(path)
    assert set(recipe.sources) == {"web", "code", "prose"}
    assert recipe.sources["web"].inputs == [str(tmp_path / "corpus" / "crawl-*.warc.gz")]
    assert yaml.safe_load(path.read_text())["train"]


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="something else than a quickstart"):
        run_demo(tmp_path, [], Options(quiet=True))


@pytest.mark.slow
def test_the_quickstart_ends_with_a_better_model_and_a_second_run_finds_it_done(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gristmill.pipeline.cli",
        "demo",
        "--out",
        str(tmp_path / "demo"),
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        steps = [step["step"] for step in json.loads(done.stdout)["steps"]]
        assert steps[0].startswith("extract/")
        assert steps[-1] == "train"
    assert "0 steps run" in done.stderr
    (summary,) = (tmp_path / "demo" / "run" / "steps").glob("train-*/train/run/summary.json")
    evaluations = json.loads(summary.read_text())["evaluations"]
    before, after = (
        {row["source"]: row["bits_per_byte"] for row in evaluations[when]} for when in ("before", "after")
    )
    assert all(after[source] < 0.8 * before[source] for source in ("web", "prose", "code"))
