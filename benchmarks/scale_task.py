"""A stage of many empty tasks, for the dispatch part of `scale.py`; workers import it by this name."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gristmill.pipeline import steps
from gristmill.pipeline.engine_settings import EngineSettings
from gristmill.pipeline.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.progress import Progress
from gristmill.pipeline.run import Plan, run_plan
from gristmill.pipeline.steps import StageKind, Step


class Many(BaseModel):
    model_config = ConfigDict(frozen=True)

    num_shards: int


def many(job: Job) -> Stage:
    records = yield Phase("empty", [Task(f"{number:06d}", nothing) for number in range(job.settings.num_shards)])
    return {"tasks": len(records)}


def nothing(task: Attempt) -> None:
    task.record.counts["done"] = 1


def drive(out: Path, num_shards: int) -> dict[str, float]:
    """Run the stage on Ray and return tasks per second and the driver's peak memory."""
    steps.STAGES = {**steps.STAGES, "many": StageKind("scale_task:many", 1)}
    plan = Plan("many", 1, [Step("many", "many", Many(num_shards=num_shards))], {})
    began = time.perf_counter()
    run_plan(plan, out, EngineSettings(kind="ray"), Progress(quiet=True))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "shards": num_shards,
        "seconds": round(seconds, 1),
        "tasks_per_s": round(num_shards / seconds, 1),
        "driver_peak_bytes": peak,
    }
