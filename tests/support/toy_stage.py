"""A stage of two phases for tests of the engine: square numbers, then add them up."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gristmill.facts import Counts, StepFacts
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import Plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import Slice, StageKind
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.sources.listing import whole_file
from gristmill.pipeline.sources.record import InputShard

QUIET = Progress(quiet=True)
INLINE = EngineSettings(kind="inline", retry_seconds=0)


class Toy(Slice):
    numbers: tuple[int, ...] = (1, 2, 3)
    flaky: str | None = None
    poison: int | None = None
    fault: str | None = None  # while this file is there, the number 1 cannot be squared
    fails: bool = False  # the sum, which every number is needed for
    kill: str | None = None
    dies: int | None = None  # the number whose worker dies each time
    input: str | None = None  # a file that every number is read with
    bad_node: bool = False  # nodes whose environment names them bad fail every task
    slow: int | None = None  # from this number on they take long on a node that is named slow
    starts: str | None = None  # a folder in which each attempt leaves a file
    seconds: float = 0.01


@dataclass(frozen=True, slots=True)
class Total(Counts):
    total: int = 0


@dataclass(frozen=True, slots=True)
class ToyFacts(StepFacts):
    total: int = 0


TOY = StageKind(
    "toy", Toy, "tests.support.toy_stage:squares", version=1, facts=ToyFacts, libraries=("numpy",)
)


def squares(job: Job) -> Stage:
    settings = job.settings.model_dump(exclude={"numbers", "fails"})
    if job.settings.input:
        settings["input"] = InputShard("text", (whole_file(job.settings.input),))  # type: ignore[arg-type]
    tasks = [Task(f"{i:05d}", square, {"number": n, **settings}) for i, n in enumerate(job.settings.numbers)]
    records = yield Phase("map", tasks, may_lose=True)
    paths = [str(job.folder / entry.path) for record in records for entry in record.named("number")]
    (total,) = yield Phase("reduce", [Task("all", add, {"paths": paths, "fails": job.settings.fails})])
    return ToyFacts(total.stated(Total).total)


def square(
    task: Attempt,
    number: int,
    flaky: str | None,
    poison: int | None,
    fault: str | None,
    kill: str | None,
    starts: str | None,
    seconds: float,
    dies: int | None = None,
    input: InputShard | None = None,
    bad_node: bool = False,
    slow: int | None = None,
) -> None:
    if starts:
        Path(starts, f"{number}-{task.scratch.name}").touch()
    if flaky and not Path(flaky).exists():
        Path(flaky).touch()
        raise RuntimeError("flaky once")
    if kill and not Path(kill).exists():
        Path(kill).touch()
        os.kill(os.getpid(), 9)
    if number == dies:
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 11)
    if bad_node and os.environ.get("TOY_NODE") == "bad":
        raise OSError(5, "Input/output error")
    if slow is not None and number >= slow and os.environ.get("TOY_NODE") == "slow":
        time.sleep(60)
    if fault and number == 1 and Path(fault).exists():
        raise OSError(5, "Input/output error")
    if number == poison:
        raise ValueError(f"cannot square {number}")
    time.sleep(seconds)
    for range_ in input.ranges if input else ():
        Path(range_.path).read_bytes()
    path = task.scratch / "n.txt"
    path.write_text(str(number * number))
    task.publish(path, "number", 1)


def add(task: Attempt, paths: list[str], fails: bool) -> None:
    if fails:
        raise ValueError("cannot add")
    task.record.state(Total(sum(int(Path(path).read_text()) for path in paths)))


def plan(allowed_failures: int = 0, **settings: object) -> Plan:
    return Plan("toy", 1, [Step("toy/a", TOY, Toy.model_validate(settings))], {}, allowed_failures)
