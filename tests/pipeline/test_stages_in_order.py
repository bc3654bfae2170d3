"""`stages` lists the text stages of a recipe in an order of its own, as often as wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import RecipeError
from gristmill.files.parquet import read_parquet
from gristmill.manifest import Manifest
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.file import make_recipe, read_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.folder import decides_on_documents, finished_steps
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import stage_of

BASE: dict[str, Any] = {
    "name": "ordered",
    "filter": {"presets": ["gopher"]},
    "dedup": {"exact": {}, "url": {}},
}


def planned(tmp_path: Path, **more: Any) -> list[str]:
    (tmp_path / "a.jsonl").write_text("{}")
    recipe = make_recipe({**BASE, "sources": {"web": {"inputs": str(tmp_path / "a.jsonl")}}, **more})
    return [step.name for step in build_plan(recipe).steps]


def test_without_a_list_the_order_is_the_usual_one(tmp_path: Path) -> None:
    assert planned(tmp_path) == ["extract/web", "filter/web", "dedup-url", "dedup-exact"]


def test_stages_run_in_the_order_listed_and_twice_where_listed_twice(tmp_path: Path) -> None:
    stages = ["dedup.url", "filter", "dedup.exact", {"filter": {"presets": ["fineweb"]}}, "coverage"]
    names = planned(tmp_path, stages=stages, coverage={})
    assert names == [
        *("extract/web", "dedup-url", "filter/web", "dedup-exact", "filter-2/web", "coverage/web"),
    ]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (["filter", "dedup.url"], "leaves out `dedup.exact`, which the recipe sets"),
        (["filter", "dedup", "classify"], "lists `classify`, which the recipe does not set"),
        (["filter", "dedup", "dedup.lines"], "lists `dedup.lines`, which the recipe does not set"),
        (["filtre", "dedup"], "lists `filtre`, there are rights, filter, dedup, dedup.url"),
        (["filter", "dedup", "filter.presets"], "lists `filter.presets`, there are"),
        (["filter", "dedup", {"filter": {}, "dedup": {}}], "one section with its settings"),
        (["filter", "dedup", {"filter": {"presets": ["gofer"]}}], "did you mean `gopher`"),
        (["filter", "dedup", {"ngram": {"train_on": ["wob"]}}], "names the source `wob`"),
    ],
)
def test_a_list_that_does_not_fit_the_recipe_is_refused(tmp_path: Path, stages: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        planned(tmp_path, stages=stages)


def test_a_mistake_in_an_entry_is_shown_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nsources: {web: {inputs: a}}\nstages:\n  - filter:\n      presets: [gofer]\n")
    with pytest.raises(RecipeError, match=r"stages.0.filter.presets.*\n  --> .*recipe.yaml:5"):
        read_recipe(path)


def test_an_entry_may_leave_its_settings_to_defaults(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nsources: {web: {inputs: a}}\nstages:\n  - dedup: {exact: }\n")
    assert read_recipe(path).stages[0].dedup.exact.normalise == "space"


def test_filters_spelled_in_an_entry_hold_for_sources_with_filters_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("{}")
    own = {"presets": ["c4-code"]}
    sources = {
        "web": {"inputs": str(tmp_path / "a")},
        "own": {"inputs": str(tmp_path / "b"), "filter": own},
        "none": {"inputs": str(tmp_path / "c"), "filter": False},
    }
    stages = ["filter", "dedup", {"filter": {"presets": ["fineweb"]}}]
    plan = build_plan(make_recipe({**BASE, "sources": sources, "stages": stages}))
    presets = {
        step.name: list(step.settings["filter"]["presets"]) for step in plan.steps if "filter" in step.name
    }
    assert presets == {
        "filter/web": ["gopher"],
        "filter/own": ["c4-code"],
        "filter-2/web": ["fineweb"],
        "filter-2/own": ["fineweb"],
    }


def test_a_stage_listed_twice_is_two_levels_of_the_funnel_and_its_books_balance(tmp_path: Path) -> None:
    texts = ["short words", "short words", "some " * 60 + "long one.", "the and of that " * 30 + "stays."]
    rows = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    recipe = make_recipe(
        {
            "name": "twice",
            "sources": {"web": {"inputs": str(tmp_path / "a.jsonl")}},
            "filter": {"presets": ["gopher"], "set": {"gopher.stop_words": "off"}},
            "dedup": {"exact": {}},
            "stages": ["dedup.exact", "filter", {"filter": {"presets": ["gopher"]}}],
        }
    )
    run_plan(build_plan(recipe), tmp_path / "out", EngineSettings(kind="inline"), Progress(quiet=True))
    levels = build_funnel(read_view(tmp_path / "out")).levels
    assert [(level.name, level.documents) for level in levels] == [
        *(("extracted", 4), ("exact dedup", 3), ("filtered", 2), ("filtered (2)", 1)),
    ]
    assert not list(verify(tmp_path / "out"))
    steps: dict[str, Manifest] = finished_steps(tmp_path / "out")
    (entry,) = steps["filter-2/web"].named("documents")
    assert read_parquet(steps["filter-2/web"].folder / entry.path).num_rows == 1


def test_the_second_step_of_a_stage_is_known_by_its_name() -> None:
    assert [stage_of(name) for name in ("filter-2/web", "dedup-exact-3", "filter/a-2", "dedup-exact")] == [
        *("filter", "dedup-exact", "filter", "dedup-exact"),
    ]
    assert not decides_on_documents("ngram-heldout-2")


def test_deduplication_after_a_stage_of_one_source_reads_each_source_as_it_is_then(tmp_path: Path) -> None:
    """Both inputs of the second deduplication hold the crawl: from before and from after its selection."""
    for name in ("crawl", "books"):
        rows = [
            {"id": f"{name}{n}", "text": f"{name} {n}", "url": f"http://{name}.example/{n}"} for n in range(6)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = make_recipe(
        {
            "name": "after",
            "sources": {name: {"inputs": str(tmp_path / f"{name}.jsonl")} for name in ("crawl", "books")},
            "dedup": {"exact": {}},
            "coverage": {"apply_to": ["crawl"], "max_per_domain": 2},
            "stages": ["dedup.exact", "coverage", {"dedup": {"exact": {}}}],
        }
    )
    run_plan(build_plan(recipe), tmp_path / "out", EngineSettings(kind="inline"), Progress(quiet=True))
    assert finished_steps(tmp_path / "out")["dedup-exact-2"].books.items_in == 2 + 6  # type: ignore[union-attr]
    assert not list(verify(tmp_path / "out"))
