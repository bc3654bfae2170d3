"""What a preflight predicts: tasks that have nothing to do tell the fixed costs, the others what grows with
the input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gristmill.manifest import TaskRecord
from gristmill.pipeline.estimate.phases import Interval, PhaseCost, cost_of_phase
from gristmill.pipeline.estimate.place import sample_place
from gristmill.pipeline.estimate.preflight import on_cluster
from gristmill.pipeline.estimate.sample import Sampled, choose_sample
from gristmill.pipeline.estimate.scale_up import Prediction, estimate, wall_of
from gristmill.pipeline.estimate.schedule import DRIVER_SECONDS, ends_of, makespan, simulate
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.called import without_secrets
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.verbs.invoke import load_recipe
from tests.support.toy_stage import INLINE, QUIET


def records(phase: str, seconds: list[float]) -> list[TaskRecord]:
    return [
        TaskRecord(phase, f"{number:05d}", timing={"seconds": took}) for number, took in enumerate(seconds)
    ]


def test_each_task_goes_to_the_first_free_cpu() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 1.0, 3.0], 2) == 4.0
    assert makespan([], 2) == 0.0
    phase = PhaseCost("a", "a", 0.0, Interval(20.0, 20.0, 20.0), sizes=(1,) * 10)
    whole = simulate([phase], 4)
    assert (whole["makespan_seconds"], whole["cpu_seconds"], whole["used_fraction"]) == (6.0, 20.0, 20 / 24)


def test_what_a_task_without_work_takes_is_not_scaled_with_the_input() -> None:
    source = Sampled("web", sample_bytes=100, num_tasks=8, shards=(600, 200, 200))
    # The first one also imported what all need.
    seconds = [5.0, 0.5, 0.5, 0.5, 1.5, 1.5, 1.5, 1.5]
    phase = cost_of_phase("a", "a", records("a", seconds), source.has_work, 0.5, 10.0, source.shards)
    assert phase.cpu_seconds.value == pytest.approx(3 * 0.5 + 10 * 4 * 1.0)
    assert wall_of(phase, 2).value == pytest.approx(0.5 + 0.6 * 40)
    assert phase.cpu_seconds.low == phase.cpu_seconds.value == phase.cpu_seconds.high


def test_a_first_task_that_warmed_up_is_paid_once_by_every_process() -> None:
    source = Sampled("web", sample_bytes=100, num_tasks=8, shards=(500, 500))
    seconds = [0.5, 0.5, 0.5, 0.5, 9.5, 1.5, 1.5, 1.5]
    phase = cost_of_phase("a", "a", records("a", seconds), source.has_work, 0.5, 10.0, source.shards)
    assert phase.warm_up == pytest.approx(8.0)
    assert wall_of(phase, 2).value == pytest.approx(0.5 + 20 + 8)


def test_parts_of_a_key_space_grow_in_number_and_single_tasks_do_not() -> None:
    parts = cost_of_phase("a", "a", records("a", [1.1, 1.1]), [True] * 8, 0.1, 100.0, (1000,))
    assert (parts.parted, len(parts.seconds())) == (True, 7)  # 200 s in parts of half a minute
    single = cost_of_phase(
        "a", "a", [TaskRecord("a", "model", timing={"seconds": 1.1})], [True] * 8, 0.1, 100.0, ()
    )
    assert len(single.seconds()) == 1 and single.seconds()[0] == pytest.approx(0.1 + 100)


def test_what_trains_on_so_much_text_takes_no_longer_on_more() -> None:
    model = [TaskRecord("train", "model", timing={"seconds": 2.0})]
    phase = cost_of_phase("tokenizer", "train", model, [True] * 8, 0.0, 1000.0, (), most=3.0)
    assert phase.seconds().sum() == pytest.approx(6.0)
    assert phase.of_more(50).seconds().sum() == pytest.approx(6.0)
    early = cost_of_phase("tokenizer", "train", model, [True] * 8, 0.0, 2.0, (), most=3.0)
    assert early.seconds().sum() == pytest.approx(4.0)
    assert early.of_more(50).seconds().sum() == pytest.approx(6.0)


def prediction(phases: list[PhaseCost], num_shards: int, besides: float = 5.0) -> Prediction:
    sampled = Sampled("web", 100, 8, (1000,) * num_shards)
    return Prediction([], [sampled], Interval(0, 0, 0), phases, besides, [])


def test_a_cluster_of_one_machine_takes_what_the_machine_takes() -> None:
    phases = [PhaseCost("a", "a", 0.1, Interval(12.9, 10, 15), sizes=(1000,) * 3)]
    found = on_cluster(prediction(phases, 3), 2, None, seed=1)
    assert found["makespan_seconds"] == pytest.approx(wall_of(phases[0], 2).value + 5.0)
    assert found["interval"][0] < found["makespan_seconds"] < found["interval"][1]


def test_a_hundred_thousand_shards_cost_as_much_as_their_size_says() -> None:
    phases = [
        PhaseCost("extract/web", "extract", 0.02, Interval(60.0, 55, 66), sizes=(1000,) * 3),
        PhaseCost("filter/web", "filter", 0.01, Interval(1.0, 0.9, 1.1), sizes=(1000,) * 3),
        PhaseCost("tokenizer", "train", 0.0, Interval(40.0, 40, 40), most=1.0),
    ]
    found = on_cluster(prediction(phases, 3), 1600, 100_000, seed=1)
    work = 100_000 * (20.02 + 1 / 3 + 0.01) + 40
    assert found["cpu_seconds"] == pytest.approx(work, rel=1e-6)
    assert found["makespan_seconds"] > work / 1600 + 40
    assert found["makespan_seconds"] < 1.5 * work / 1600
    # The driver hands out no more tasks than it can, however many CPUs there are.
    assert found["steps"]["filter/web"] == pytest.approx(100_000 * DRIVER_SECONDS)
    assert found["driver_seconds"] == pytest.approx(100_000 * DRIVER_SECONDS)


@pytest.mark.parametrize("num_cpus", [1, 2, 1600])
def test_a_prediction_from_a_sample_agrees_with_a_run_on_simulated_clocks(num_cpus: int) -> None:
    """20,000 shards whose tasks take what a lognormal law draws for each, given to the first free CPU."""
    draw = np.random.Generator(np.random.PCG64(7))
    sizes = (32 << 20,) * 20_000
    truth = 0.05 + draw.lognormal(np.log(12), 0.4, len(sizes))
    mean = float(truth.mean() - 0.05)
    sample = [0.05] * 4 + (0.05 + mean / 40 * draw.lognormal(-0.08, 0.4, 64)).tolist()
    has_work = [False] * 4 + [True] * 64
    factor = len(sizes) * 40 / 64
    phase = cost_of_phase("extract/web", "extract", records("extract", sample), has_work, 0.05, factor, sizes)
    ran = float(ends_of(truth.tolist(), num_cpus).max())
    wall = wall_of(phase, num_cpus)
    assert wall.low <= ran <= wall.high
    assert wall.value == pytest.approx(ran, rel=0.12)


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
    monkeypatch.setattr("gristmill.pipeline.estimate.sample.MIN_SAMPLE_BYTES", 2 << 20)
    monkeypatch.setattr("gristmill.pipeline.estimate.sample._MIN_RANGE_BYTES", 64 << 10)
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
    with sample_place(tmp_path / "out", INLINE, lambda line: None) as place:
        assert (place.num_cpus, place.cpus_each) == (1, 1)
        found = estimate(recipe, place.folder / "sample", INLINE, 1, QUIET)
    ran = run_plan(build_plan(recipe), tmp_path / "out", INLINE, QUIET).manifests
    assert not place.folder.exists()
    assert [step.step for step in found.steps] == list(ran)
    books = ran["filter/a"].books
    assert books
    assert books.items_out["removed"] >= 100
    assert found.seconds.value > 0 and found.phases
    assert estimate(recipe, tmp_path / "again", INLINE, 1, QUIET, list(ran)).phases == []
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
