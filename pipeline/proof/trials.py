"""Trials: trainings, scores and proxies as tasks that know by their key whether they were done.

A trial's key is a hash of all that decides it (settings, seed, the digest of the shards, the trainer's
version), so a call with one more variant, seed or target runs only what is new, whatever else changed; a
killed training goes on from its last checkpoint. All trainings of a call are one phase: Ray runs as many at
once as there are CPUs for, or GPUs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gristmill.facts import Facts
from gristmill.files.disk import read_file
from gristmill.files.lock import hold_lock
from gristmill.files.stores import store_of
from gristmill.hashing import sha256_json
from gristmill.manifest import TaskRecord, finished_keys
from gristmill.pipeline.phases.train import run_process
from gristmill.pipeline.proof.scoring import score_model
from gristmill.pipeline.proof.texts import Targets
from gristmill.pipeline.run.engines import Engines, opened
from gristmill.pipeline.run.execute import run_phase
from gristmill.pipeline.run.job import Attempt, Phase, Task
from gristmill.pipeline.run.libraries import version_of
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.signals import stopped_by_signals
from gristmill.pipeline.run.stage import StageKind
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.stages.train import TRAIN, TrainSlice

FOLDER = "trials"  # below an output folder
VERSION = 1  # raised when a trial of the same key would come out otherwise
_KIND = StageKind("trials", TrainSlice, "gristmill.pipeline.phases.train:train", version=VERSION)
_TIMINGS = ("training_seconds", "tokens_per_s")


@dataclass(frozen=True, slots=True)
class Trained(Facts):
    """What a training came to: parameters, tokens, its last loss; evaluations by source."""

    parameters: int = 0
    tokens: int = 0
    steps: int = 0
    loss: float | None = None
    skipped: int = 0
    model: dict[str, Any] = field(default_factory=dict)
    evaluations: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""


def key_of(**decides: Any) -> str:
    """Name a trial by all that decides it."""
    libraries = {name: version_of(name) for name in TRAIN.libraries}
    return sha256_json({"version": VERSION, "trainer": TRAIN.version, "libraries": libraries, **decides})[:20]


@dataclass(frozen=True, slots=True)
class Takes:
    """What a trial holds while it runs on a cluster: CPUs, and GPUs where a node has any."""

    num_cpus: float = 1
    num_gpus: float = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Takes:
        """What a training by these settings takes: a CPU a thread, and one GPU unless its device is `cpu`."""
        on_cpu = settings.get("device", "auto") == "cpu"
        return cls(float(settings.get("threads") or 1), 0 if on_cpu else 1)


@dataclass(slots=True)
class Trials:
    """Runs tasks in an output folder while its lock is held."""

    out: Path
    engines: Engines
    progress: Progress
    seed: int

    @property
    def folder(self) -> Path:
        return self.out / FOLDER

    def done(self, phase: str, keys: Sequence[str]) -> set[str]:
        return finished_keys(self.folder, phase) & set(keys)

    def run(
        self,
        phase: str,
        tasks: Mapping[str, Task],
        takes: Takes = Takes(),
        *,
        window: int | None = None,
        saves: bool = False,
    ) -> dict[str, TaskRecord]:
        """Run what has no record yet; return all records by key. Raises StepFailed where a task never came to
        its end.

        What a recipe says in `engine.stages.train` of a task holds for trials that take a GPU or save: with
        `num_gpus: 0.25` four small models share one."""
        store_of(self.folder).clear_scratch(self.folder)
        left = len(tasks) - len(self.done(phase, list(tasks)))
        common = {}
        if saves and left and self.engines.for_tasks(left).name == "inline":
            common["here"] = True
        made = Phase(
            phase,
            list(tasks.values()),
            common,
            num_cpus=takes.num_cpus,
            num_gpus=takes.num_gpus,
            window=window,
            saves=saves,
            step=(None, self.seed),
        )
        if saves or takes.num_gpus:
            provided = self.engines.settings.provide(TRAIN.name, made)
            made = replace(provided, window=window or provided.window)
        step = Step(FOLDER, _KIND, TrainSlice(train={}))
        there = finished_keys(self.folder, made.name)
        records = run_phase(step, self.folder, made, there, self.engines, self.progress, [], 0, Totals())
        return {record.task: record for record in records}


@contextmanager
def one_engine(engine: EngineSettings | Engines, out: Path, progress: Progress) -> Iterator[Engines]:
    """The engines of all plans and trials of a comparison: Ray is started once for them."""
    with stopped_by_signals(), opened(engine, out, progress.note) as engines:
        yield engines


@contextmanager
def open_trials(out: Path, engines: Engines, progress: Progress, seed: int) -> Iterator[Trials]:
    """Hold an output folder's lock while trials run."""
    with hold_lock(out), stopped_by_signals():
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        yield Trials(out, engines, progress, seed)


def run_of(out: Path, key: str) -> Path:
    """The trainer's run folder of a trial."""
    return out / FOLDER / "runs" / key


def training(key: str, settings: Mapping[str, Any]) -> Task:
    return Task(key, train_trial, {"settings": dict(settings)})


def scoring(trials: Trials, trial: str, settings: Mapping[str, Any], heldout: str, targets: Targets) -> Task:
    """The task that scores a trial's model, where its settings trained it, on the targets and on what its
    variant holds out."""
    amount = targets.amount
    key = key_of(kind="score", trial=trial, targets=targets.digests, amount=[amount.documents, amount.bytes])
    arguments = {
        "run": str(run_of(trials.out, trial)),
        "device": str(settings.get("device", "auto")),
        "heldout": heldout,
        "targets": targets.paths,
        **amount.as_arguments(),
    }
    return Task(key, score_model, arguments)


def train_trial(task: Attempt[Any], settings: Mapping[str, Any], here: bool = False) -> None:
    """Train one model; a half-trained one goes on from its last checkpoint.

    `here`: in this process, where tasks come one after another; else in one of its own.
    """
    with task.workspace(f"runs/{task.record.task}") as run:
        whole = {**settings, "run": str(run)}
        if here:
            from gristmill.trainer.train import run as train

            with (run / "output.txt").open("a") as output, redirect_stderr(output):
                train(whole)
        else:
            run_process(task, whole, run)
        summary = json.loads(read_file(run / "summary.json").decode())
        for name in _TIMINGS:
            task.record.timing[name] = summary.pop(name)
        summary["checkpoint"] = Path(summary["checkpoint"]).name
        task.record.state(Trained.of(summary))
