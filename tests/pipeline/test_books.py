"""Whatever fails, however often a run is resumed: in = kept + removed + failed + lost, and lost is seen."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gristmill.errors import GristmillError, StepFailed
from gristmill.manifest import Manifest
from gristmill.pipeline.look.live import read_status
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases import filter as filter_phases
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.runner import Plan, run_plan, states
from tests.support.toy_stage import INLINE, QUIET

OUTLETS = ("kept", "removed", "failed", "lost")
LINES = st.lists(
    st.one_of(
        st.text(st.sampled_from("ab c.\n"), max_size=30).map(lambda text: json.dumps({"text": text})),
        st.sampled_from(['{"text": null}', "no json", '{"other": 1}', '{"text": "same words again"}']),
    ),
    max_size=8,
)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, object]:
    files = draw(st.lists(LINES, min_size=1, max_size=4))
    return {
        "files": files,
        "filtered": draw(st.booleans()),
        "exact": draw(st.booleans()),
        "allowed": draw(st.integers(0, 4)),
        # Of each attempt at the run, which files cannot be opened, and which shards the filter fails on.
        "faults": draw(
            st.lists(
                st.tuples(st.sets(st.integers(0, 3), max_size=3), st.sets(st.integers(0, 3), max_size=2)),
                max_size=2,
            )
        ),
    }


def balanced(manifest: Manifest) -> None:
    books = manifest.books
    if books is not None:
        others = sum(books.items_out.values()) - sum(books.items_out[outlet] for outlet in OUTLETS)
        assert books.items_in == sum(books.items_out[outlet] for outlet in OUTLETS) + others
        assert books.items_out["lost"] == sum(fact["documents"] or 0 for fact in manifest.lost)
        assert manifest.rows("documents") == books.items_out["kept"]


ONE, TWO = ['{"text": "a b c."}'], ['{"text": "b"}', "no json"]
CASES = [
    {"files": [ONE, TWO], "filtered": False, "exact": True, "allowed": 2, "faults": [({1}, set())]},
    {
        "files": [ONE, TWO],
        "filtered": True,
        "exact": False,
        "allowed": 2,
        "faults": [(set(), {0}), (set(), {1})],
    },
]


@pytest.mark.parametrize("case", CASES, ids=["an input cannot be read", "a filter fails"])
def test_the_books_balance_where_tasks_are_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: dict[str, object]
) -> None:
    _check(monkeypatch, tmp_path, case)


@pytest.mark.slow
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(runs())
def test_the_books_of_any_run_balance_and_what_is_lost_is_said_wherever_a_person_looks(
    monkeypatch: pytest.MonkeyPatch, case: dict[str, object]
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="books-"))
    try:
        _check(monkeypatch, folder, case)
    finally:
        shutil.rmtree(folder)


def _check(monkeypatch: pytest.MonkeyPatch, folder: Path, case: dict[str, object]) -> None:
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: None
    )  # a hundred small runs need not reach the platters
    files: list[list[str]] = case["files"]  # type: ignore[assignment]
    for number, lines in enumerate(files):
        (folder / f"{number}.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def plan(allowed: int) -> Plan:
        recipe: dict[str, object] = {
            "name": "books",
            "shard_bytes": 1,
            "sources": {"a": {"inputs": str(folder / "*.jsonl")}},
            "limits": {"quarantined_shards": allowed},
        }
        if case["filtered"]:
            recipe["filter"] = {"presets": ["gopher"]}
        if case["exact"]:
            recipe["dedup"] = {"exact": {}}
        return build_plan(make_recipe(recipe))

    load = filter_phases.compile_filters
    for unreadable, failing in case["faults"]:  # type: ignore[attr-defined]
        hidden = [folder / f"{number}.jsonl" for number in unreadable if number < len(files)]
        made, count = plan(case["allowed"]), [0]  # type: ignore[arg-type]
        for path in hidden:
            path.rename(path.with_suffix(".away"))

        def flaky(*arguments: object, count: list[int] = count, failing: set[int] = failing) -> object:
            count[0] += 1
            if (count[0] - 1) in failing:
                raise OSError(5, "Input/output error")
            return load(*arguments)  # type: ignore[arg-type]

        settings_ = INLINE.model_copy(update={"retries": 0})
        monkeypatch.setattr(filter_phases, "compile_filters", flaky)
        try:
            result = run_plan(made, folder / "out", settings_, QUIET)
        except StepFailed:
            pass
        except (GristmillError, OSError) as error:
            assert str(error)
        else:
            for manifest in result.manifests.values():
                balanced(manifest)
            _is_said(folder / "out", made, result.incomplete)
        finally:
            monkeypatch.setattr(filter_phases, "compile_filters", load)
            for path in hidden:
                path.with_suffix(".away").rename(path)
    healed = run_plan(plan(0), folder / "out", INLINE, QUIET).manifests
    fresh = run_plan(plan(0), folder / "fresh", INLINE, QUIET).manifests
    for name, manifest in healed.items():
        balanced(manifest)
        assert manifest.content_digest == fresh[name].content_digest
    assert list(verify(folder / "out")) == []


def _is_said(out: Path, made: Plan, incomplete: list[str]) -> None:
    """Plan, status, verify and report agree on which steps lack tasks."""
    if not incomplete:
        assert list(verify(out)) == []
        return
    assert [state.step.name for state in states(made, out) if state.state == "incomplete"] == incomplete[:1]
    status = read_status(out)
    assert not status["complete"]
    assert [row["step"] for row in status["steps"] if row["state"] == "incomplete"] == incomplete
    assert sum("is incomplete" in finding.problem for finding in verify(out)) == len(incomplete)
    assert "incomplete" in write_report(out).read_text()
