"""What `scale.py` measures, each in a process of its own; workers import the stage of empty tasks by this
name."""

from __future__ import annotations

import time
from pathlib import Path

from gristmill.facts import StepFacts
from gristmill.pipeline.run.attempt import peak_bytes
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import Slice, StageKind
from gristmill.pipeline.run.step import Step


class Many(Slice):
    num_shards: int


MANY = StageKind("many", Many, "scale_work:many", version=1)


def many(job: Job) -> Stage:
    yield Phase("empty", [Task(f"{number:06d}", nothing) for number in range(job.settings.num_shards)])
    return StepFacts()


def nothing(task: Attempt) -> None:
    task.record.counts["done"] = 1


def drive(num_shards: int) -> dict[str, float]:
    """Run the stage on Ray and return tasks per second and the driver's peak memory."""
    plan = Plan("many", 1, [Step("many", MANY, Many(num_shards=num_shards))], {})
    began = time.perf_counter()
    run_plan(plan, Path("many"), EngineSettings(kind="ray"), Progress(quiet=True))
    seconds = time.perf_counter() - began
    return {
        "shards": num_shards,
        "seconds": round(seconds, 1),
        "tasks_per_s": round(num_shards / seconds, 1),
        "driver_peak_bytes": peak_bytes(),
    }


def mill(inputs: str, shard_bytes: int) -> dict[str, float]:
    """Extract on Ray with one worker; return seconds, and peak memory on both sides."""
    from gristmill.pipeline.cli import app, register

    command = ["extract", inputs, "--out", "out", "--engine", "ray", "--workers", "1", "--quiet", "--json"]
    register()
    began = time.perf_counter()
    try:
        app(args=[*command, "--set", f"shard_bytes={shard_bytes}", "--set", "extract.extractor=resiliparse"])
    except SystemExit as end:
        if end.code:
            raise
    seconds = time.perf_counter() - began
    (step,) = finished_steps(Path("out")).values()
    timings = [record.timing for record in step.read_records() if record.phase == "extract"]
    return {
        "shards": len(timings),
        "seconds": round(seconds, 2),
        "documents": step.rows("documents"),
        "work_seconds": round(sum(timing["seconds"] for timing in timings), 2),
        "driver_peak_bytes": peak_bytes(),
        "worker_peak_bytes": max(timing["peak_bytes"] for timing in timings),
    }


def plan(inputs: str) -> dict[str, float]:
    """List and cut inputs that are not opened."""
    from gristmill.pipeline.recipe.file import make_recipe
    from gristmill.pipeline.recipe.plan import build_plan
    from gristmill.pipeline.sources.plan import plan_shards

    recipe = make_recipe({"name": "many", "sources": {"web": {"inputs": [inputs]}}})
    began = time.perf_counter()
    build_plan(recipe)
    planned = time.perf_counter()
    shards = plan_shards(recipe.sources["web"], recipe.shard_bytes)
    return {
        "inputs": sum(len(shard.ranges) for shard in shards),
        "shards": len(shards),
        "plan_seconds": round(planned - began, 2),
        "shards_seconds": round(time.perf_counter() - planned, 2),
        "peak_bytes": peak_bytes(),
    }
