"""The drivers that `cluster.py` measures, each in a process of its own; workers import the stage by this
name."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gristmill.facts import StepFacts
from gristmill.manifest import Manifest
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import Slice, StageKind
from gristmill.pipeline.run.step import Step

OUT = Path("out")


class Many(Slice):
    num_shards: int
    seconds: float


def many_stage(job: Job[Many]) -> Stage:
    yield Phase("wait", [Task(f"{number:06d}", wait) for number in range(job.settings.num_shards)])
    return StepFacts()


def wait(task: Attempt[Many]) -> None:
    time.sleep(task.settings.seconds)


MANY = StageKind("many", Many, "benchmarks.cluster_work:many_stage", version=1)


def many(num_shards: int, seconds: float, workers: int | None, address: str | None = None) -> dict[str, Any]:
    """Run tasks that sleep; return the rate at which they ended, the driver's CPU seconds, and when each
    was at work."""
    plan = Plan("many", 1, [Step("many", MANY, Many(num_shards=num_shards, seconds=seconds))], {})
    spent = time.process_time()
    settings = EngineSettings(kind="ray", workers=workers, address=address)
    manifests = run_plan(plan, OUT, settings, Progress(quiet=True)).manifests
    spent = time.process_time() - spent
    tasks = _at_work(manifests.values())
    ends = sorted(end for _, end in tasks)
    found: dict[str, Any] = {
        "tasks_per_s": round((len(ends) - 1) / max(0.1, ends[-1] - ends[0]), 1),
        "driver_cpu_seconds_per_1000": round(1000 * spent / num_shards, 2),
        "num_tasks": num_shards,
    }
    return found if address is None else {**found, "tasks": tasks}


def mill(files: list[str], limit: int | None, workers: int) -> dict[str, Any]:
    """Run the recipe of `pages_to_shards.py` on eight sources; return when each task was at work."""
    from benchmarks import pages_to_shards
    from gristmill.pipeline.recipe.file import make_recipe
    from gristmill.pipeline.recipe.plan import build_plan

    plan = build_plan(make_recipe(pages_to_shards.recipe(files, 8, limit)))
    settings = EngineSettings(kind="ray", workers=workers)
    result = run_plan(plan, OUT, settings, Progress(quiet=True))
    work: dict[str, float] = {}
    for name, manifest in result.manifests.items():
        stage = name.partition("/")[0]
        seconds = sum(end - start for start, end in _at_work([manifest]))
        work[stage] = round(work.get(stage, 0.0) + seconds, 1)
    return {"tasks": _at_work(result.manifests.values()), "work_seconds": work}


def _at_work(manifests: Iterable[Manifest]) -> list[tuple[float, float]]:
    """When every task began and ended, to a tenth of a second."""
    timings = [record.timing for manifest in manifests for record in manifest.read_records()]
    return [(timing["ended"] - timing["seconds"], timing["ended"]) for timing in timings]
