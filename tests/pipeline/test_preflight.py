"""What a preflight predicts: tasks that have nothing to do tell the fixed costs, the others what grows with
the input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gristmill.pipeline.estimate.scale_up import Sampled, _phase, choose_sample, estimate
from gristmill.pipeline.estimate.schedule import makespan, simulate
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.verbs.invoke import load_recipe, without_secrets
from tests.support.toy_stage import INLINE, QUIET


def test_each_task_goes_to_the_first_free_cpu() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 1.0, 3.0], 2) == 4.0
    assert makespan([], 2) == 0.0
    whole = simulate([2.0], 10, 2, 2, seed=1)
    assert (whole["makespan_seconds"], whole["cpu_seconds"], whole["used_fraction"]) == (6.0, 20.0, 20 / 24)


def test_what_a_task_without_work_takes_is_not_scaled_with_the_input() -> None:
    source = Sampled("web", sample_bytes=100, num_tasks=8, shards=(600, 200, 200))
    seconds = np.array([5.0, 0.5, 0.5, 0.5, 1.5, 1.5, 1.5, 1.5])  # the first one also imported what all need
    cpu, wall = _phase(seconds, [source], 0.5, factor=10.0, num_cpus=2)
    assert cpu.value == pytest.approx(3 * 0.5 + 10 * 4 * 1.0)
    assert wall.value == pytest.approx(0.5 + 0.6 * 40)
    assert cpu.low == cpu.value == cpu.high


def test_a_phase_with_tasks_of_its_own_keeps_their_number() -> None:
    source = Sampled("web", sample_bytes=100, num_tasks=8, shards=(1000,))
    cpu, wall = _phase(np.array([1.1, 1.1]), [source], 0.1, factor=10.0, num_cpus=2)
    assert cpu.value == pytest.approx(2 * 0.1 + 10 * 2.0)
    assert wall.value == pytest.approx(0.1 + 10.0)


def write(folder: Path, num_documents: int) -> Recipe:
    with (folder / "in.jsonl").open("w") as file:
        for number in range(num_documents):
            words = (
                "too short" if number % 4 == 0 else " ".join(f"the word of {n} and that" for n in range(60))
            )
            file.write(json.dumps({"id": str(number), "text": words}) + "\n")
    path = folder / "recipe.yaml"
    path.write_text(
        f"name: x\nsources: {{a: {{inputs: {folder}/in.jsonl}}}}\nfilter: {{presets: [gopher]}}\n"
        "shard_bytes: 1000000\noutput: {storage_options: {secret: hunter2}}\n"
    )
    return load_recipe(path)


def test_a_sample_is_spread_over_tasks_and_some_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipeline.estimate.scale_up.MIN_SAMPLE_BYTES", 2 << 20)
    monkeypatch.setattr("gristmill.pipeline.estimate.scale_up._MIN_RANGE_BYTES", 64 << 10)
    recipe = write(tmp_path, 5000)
    sample, sampled = choose_sample(recipe, "a")
    assert sample == choose_sample(recipe, "a")[0]
    assert [len(task) for task in sample.tasks[:5]] == [0, 0, 0, 0, 3]
    assert 2 << 20 <= sampled.sample_bytes < 1.1 * (2 << 20)
    assert sampled.total_bytes == (tmp_path / "in.jsonl").stat().st_size
    assert len(sampled.shards) == -(-sampled.total_bytes // recipe.shard_bytes)
    numbers = [number for task in sample.tasks for number in task]
    assert len(set(numbers)) == len(numbers)


def test_the_predicted_keep_rate_is_that_of_the_run(tmp_path: Path) -> None:
    from gristmill.pipeline.recipe.plan import build_plan

    recipe = write(tmp_path, 400)
    found = estimate(recipe, tmp_path / "sample", INLINE, 1, QUIET)
    ran = run_plan(build_plan(recipe), tmp_path / "out", INLINE, QUIET).manifests
    assert not (tmp_path / "sample").exists()
    assert [step.step for step in found.steps] == list(ran)
    books = ran["filter/a"].books
    assert books
    assert books.items_out["removed"] >= 100
    kept = found.steps[1].kept_fraction
    assert kept
    assert kept.value == pytest.approx(books.items_out["kept"] / books.items_in, abs=0.03)


def test_secrets_are_in_no_run_file_and_no_command(tmp_path: Path) -> None:
    recipe = write(tmp_path, 1)
    assert "hunter2" not in json.dumps(recipe.model_dump(mode="json"))
    assert "hunter2" not in repr(recipe)
    given = ["run", "r.yaml", "--set", "output.storage_options.secret=hunter2", "--set", "seed=2"]
    assert without_secrets(given) == [
        "run",
        "r.yaml",
        "--set",
        "output.storage_options.secret=***",
        "--set",
        "seed=2",
    ]
    assert without_secrets(["--storage-option", "key=hunter2", "verify"]) == [
        "--storage-option",
        "key=***",
        "verify",
    ]
    assert without_secrets(["--storage-option=key=hunter2"]) == ["--storage-option=key=***"]
