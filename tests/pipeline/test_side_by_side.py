"""Steps that do not depend on each other run at the same time, and come out in the order of the plan."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gristmill.errors import StepFailed
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.side_by_side import run_steps
from gristmill.pipeline.run.step import Step
from tests.support.small_recipe import recipe, write_inputs
from tests.support.toy_stage import INLINE, QUIET, TOY, Toy


def step(name: str, *inputs: str, **settings: object) -> Step:
    return Step(name, TOY, Toy.model_validate(settings), inputs)


DIAMOND = [step("toy/a"), step("toy/b"), step("toy/c", "toy/a", "toy/b"), step("toy/d", "toy/c")]


def test_two_steps_without_inputs_are_at_work_at_once_and_their_reader_waits() -> None:
    meet = threading.Barrier(2, timeout=60)
    order: list[str] = []

    def prepare(made: Step):  # type: ignore[no-untyped-def]
        def work(progress: Progress) -> str:
            if not made.inputs:
                meet.wait()  # breaks unless both are at work
            return made.name

        return work

    run_steps(DIAMOND, prepare, lambda made, name: order.append(name), lambda: True, QUIET)
    assert sorted(order[:2]) == ["toy/a", "toy/b"] and order[2:] == ["toy/c", "toy/d"]


def test_the_code_of_steps_that_wait_is_imported_while_the_first_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    later = replace(step("toy/c", "toy/a", "toy/b"), kind=replace(TOY, name="later", work="sched:scheduler"))

    def prepare(made: Step):  # type: ignore[no-untyped-def]
        def work(progress: Progress) -> bool:
            deadline = time.monotonic() + 60
            while "sched" not in sys.modules and time.monotonic() < deadline:
                time.sleep(0.01)
            return "sched" in sys.modules

        return work

    found: list[bool] = []
    steps = [step("toy/a"), step("toy/b"), later]
    run_steps(steps, prepare, lambda made, loaded: found.append(loaded), lambda: True, QUIET)
    assert found == [True, True, True]


def test_what_is_encoded_waits_for_no_report_and_a_tokenizer_by_path_for_no_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    steps = {one.name: one for one in build_plan(make_recipe(recipe())).steps}
    assert "tokenizer" in steps["tokenizer-report"].inputs
    assert not [one.name for one in steps.values() if "tokenizer-report" in one.inputs]
    (tmp_path / "own.model").write_bytes(b"a model")
    by_path = build_plan(make_recipe(recipe(tokenizer={"path": "own.model"}))).steps
    (own,) = (one for one in by_path if one.name == "tokenizer")
    assert own.inputs == () and steps["tokenizer"].inputs != ()


def test_without_a_cluster_steps_run_one_by_one_in_this_thread() -> None:
    here = threading.current_thread()
    seen: list[str] = []

    def prepare(made: Step):  # type: ignore[no-untyped-def]
        def work(progress: Progress) -> str:
            assert threading.current_thread() is here
            return made.name

        return None if made.name == "toy/b" else work

    run_steps(DIAMOND, prepare, lambda made, name: seen.append(name), lambda: False, QUIET)
    assert seen == ["toy/a", "toy/c", "toy/d"]


@pytest.mark.slow
def test_on_ray_a_plan_of_several_steps_makes_what_one_process_makes(tmp_path: Path) -> None:
    steps = [step("toy/a", numbers=(1, 2, 3)), step("toy/b", numbers=(4, 5))]
    settings = EngineSettings(kind="ray", workers=2)
    many = run_plan(Plan("toy", 1, steps, {}), tmp_path / "ray", settings, QUIET)
    one = run_plan(Plan("toy", 1, steps, {}), tmp_path / "inline", INLINE, QUIET)
    assert list(many.manifests) == many.ran == ["toy/a", "toy/b"]
    for name in many.manifests:
        assert many.manifests[name].content_digest == one.manifests[name].content_digest
    failing = [step("toy/a", numbers=(1, 2, 3), seconds=0.2), step("toy/b", numbers=(4, 5), poison=4)]
    with pytest.raises(StepFailed, match="cannot square 4"):
        run_plan(Plan("toy", 1, failing, {}), tmp_path / "failing", settings, QUIET)
