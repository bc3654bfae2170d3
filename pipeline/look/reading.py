"""Read a run folder for people: manifests and shard records, never the data; what is missing or odd is said,
not raised."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gristmill.errors import GristmillError, IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.inside import parsed
from gristmill.files.lock import read_holder
from gristmill.files.stores import store_of
from gristmill.manifest import MANIFEST, Manifest, Stated, TaskRecord, read_manifest, read_record
from gristmill.pipeline.run.folder import RUN_FILE, read_run, unfinished_folder
from gristmill.pipeline.run.losses import spell_lost
from gristmill.pipeline.run.records.summary import is_gone, read_summary
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.run.stage import stage_of
from gristmill.pipeline.stages.train import TrainFacts

RUN_FORMAT = 1


@dataclass(slots=True)
class StepView:
    """One step of a run: `state` is done, incomplete, running, failed, stopped or waiting."""

    name: str
    state: str
    folder: Path | None = None
    manifest: Manifest | None = None
    totals: Totals = field(default_factory=Totals)
    quarantine: dict[str, str] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        return str(self.manifest.ingredients["stage"]) if self.manifest else stage_of(self.name)

    @property
    def extra(self) -> Mapping[str, Any]:
        return self.manifest.extra if self.manifest else {}

    def stated(self, kind: type[Stated]) -> Stated:
        """What the step states of itself; the defaults while it is unfinished."""
        return kind.of(self.extra)

    @property
    def seconds(self) -> float:
        """Wall time of the finished step; the work so far of an unfinished one."""
        if self.manifest:
            return float(self.manifest.timing.get("seconds", 0.0))
        return sum(times.work_seconds for times in self.totals.times.values())


@dataclass(slots=True)
class RunView:
    """A run as a reader sees it."""

    out: Path
    name: str
    complete: bool
    version: str
    recipe: Mapping[str, Any]
    steps: list[StepView]
    holder: Mapping[str, object] | None
    problems: list[str]

    @property
    def state(self) -> str:
        if self.complete:
            return "complete"
        if self.holder:
            return "running"
        if all(step.manifest for step in self.steps) and any(
            step.state == "incomplete" for step in self.steps
        ):
            return "incomplete"
        return "failed" if any(step.state == "failed" for step in self.steps) else "stopped"

    def of_stage(self, *stages: str) -> list[StepView]:
        return [step for step in self.steps if step.stage in stages]

    def merged(self, *stages: str) -> Totals:
        """The totals of some stages' steps, over all sources."""
        totals = Totals()
        for step in self.of_stage(*stages):
            totals.merge(step.totals)
        return totals


def read_view(out: Path, known: dict[Path, Summed] | None = None) -> RunView:
    """Open a run, finished or not; raises UsageError when `out` was not written by gristmill at all.

    `known` is what an earlier call of the same process added up, by folder: who looks again and again hands
    in the same one, and no record is read twice.
    """
    known = {} if known is None else known
    run, problems = _read_run(out)
    if run.get("format") != RUN_FORMAT:
        problems.append(
            f"{RUN_FILE} has format {run.get('format')!r}, this version reads format {RUN_FORMAT}: parts may"
            " be missing"
        )
    holder = read_holder(out)
    folders = {entry["name"]: out / entry["folder"] for entry in run.get("steps", [])}
    names = list(dict.fromkeys([*run.get("plan", []), *folders]))

    def read(name: str) -> tuple[StepView, list[str]]:
        said: list[str] = []
        return _read_step(out, name, folders.get(name), holder is not None, said, known), said

    steps = []
    for step, said in store_of(out).side_by_side(read, names):
        steps.append(step)
        problems += said
    return RunView(
        out,
        str(run.get("recipe_name", out.name)),
        bool(run.get("complete")),
        str(run.get("gristmill", "unknown")),
        run.get("recipe", {}),
        steps,
        holder,
        problems,
    )


def _read_run(out: Path) -> tuple[dict[str, Any], list[str]]:
    """The run file; a damaged one is replaced by what the steps' folders say."""
    try:
        return read_run(out), []
    except IntegrityError as error:
        found = [folder for folder in sorted((out / "steps").glob("*")) if (folder / MANIFEST).exists()]
        steps = []
        for folder in found:
            try:
                steps.append(
                    {"name": read_manifest(folder).step, "folder": folder.relative_to(out).as_posix()}
                )
            except GristmillError:
                continue
        return {"format": RUN_FORMAT, "steps": steps, "recipe_name": out.name}, [error.message]


def _read_step(
    out: Path,
    name: str,
    folder: Path | None,
    running: bool,
    problems: list[str],
    known: dict[Path, Summed],
) -> StepView:
    manifest: Manifest | None = None
    if folder is not None:
        try:
            manifest = read_manifest(folder)
        except (GristmillError, KeyError, TypeError) as error:
            problems.append(
                f"{name}: {error.message if isinstance(error, GristmillError) else f'unreadable ({error!r})'}"
            )
            return StepView(name, "failed", folder)
    else:
        folder = unfinished_folder(out, name)
    if folder is None:
        return StepView(name, "waiting")
    view = StepView(name, "stopped", folder, manifest)
    if manifest:
        view.state = "incomplete" if manifest.lost else "done"
    if manifest and manifest.lost:
        problems.append(f"{name}: {spell_lost(manifest)}")
    if manifest is None or manifest.lost:
        view.quarantine = _quarantine(folder)
    if manifest is None:
        # `running` is refined by whether the step has failed shards: a run that failed has let go of the
        # lock.
        view.state = "running" if running else "failed" if view.quarantine else "stopped"
    view.totals = _totals(name, folder, manifest, problems, known)
    return view


@dataclass(slots=True)
class Summed:
    """What this process has added up of a step: a report of every minute reads a record once."""

    totals: Totals = field(default_factory=Totals)
    seen: set[Path] = field(default_factory=set)


def _totals(
    name: str,
    folder: Path,
    manifest: Manifest | None,
    problems: list[str],
    known: dict[Path, Summed],
) -> Totals:
    """What a step's records come to: its summary says it, where it has one; else they are added up, those
    that were not there the last time."""
    if manifest and manifest.summary:
        summary = folder / manifest.summary["path"]
        if folder in known and known[folder].seen == {summary}:
            return known[folder].totals
        try:
            known[folder] = Summed(read_summary(folder, manifest.summary), {summary})
            return known[folder].totals
        except (GristmillError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{name}: {_said(summary, error)}; its records are read instead")
            known.pop(folder, None)
    paths = _record_paths(folder, manifest)
    summed = known.setdefault(folder, Summed())
    if manifest or not summed.seen <= set(paths):  # what was written anew shows only now
        summed = known[folder] = Summed()
    published = {entry.path for entry in manifest.files} if manifest else None
    new = [path for path in paths if path not in summed.seen]
    for path, read in zip(new, store_of(folder).side_by_side(_record_or_error, new), strict=True):
        try:
            if isinstance(read, Exception):
                raise read
            summed.totals.add(read, rewritten=published is not None and is_gone(read, published))
            summed.seen.add(path)
        except (GristmillError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{name}: {_said(path, error)}")
    return summed.totals


def _said(path: Path, error: Exception) -> str:
    if isinstance(error, GristmillError):
        return error.message
    return f"`{path.name}` is of another version ({error!r})"


def _record_or_error(path: Path) -> TaskRecord | Exception:
    try:
        return read_record(path)
    except (GristmillError, KeyError, TypeError, ValueError) as error:
        return error
    except OSError as error:
        return IntegrityError(f"the record `{path.parent.name}/{path.name}` cannot be read: {error}")


def _record_paths(folder: Path, manifest: Manifest | None) -> list[Path]:
    if manifest:
        return [folder / entry["path"] for entry in manifest.records]
    return sorted(folder.glob("records/*/*.json"))


def _quarantine(folder: Path) -> dict[str, str]:
    """The last line of the traceback of every shard that failed on all attempts."""
    found = {}
    for path in sorted((folder / "quarantine").glob("*.txt")):
        lines = path.read_text("utf-8", "replace").strip().splitlines()
        found[path.stem] = lines[-1] if lines else "no traceback"
    return found


def read_training_log(step: StepView) -> list[dict[str, Any]]:
    """The rows of a training step's log, finished or not; a last line that is still being written is left
    out."""
    return read_log(step.folder / "train" / "run" / "log.jsonl") if step.folder else []


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a trainer's log; none where there is no log yet."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            rows.append(parsed(line))
        except json.JSONDecodeError:
            continue
    return rows


def last_evaluation(step: StepView) -> list[dict[str, Any]]:
    """What a finished training measured on held-out text after its last step, a row per source and one of
    all."""
    return list(step.stated(TrainFacts).evaluations.get("after", ()))


def read_tokenizer_report(view: RunView) -> dict[str, Any]:
    """What is told of a run's tokenizer; nothing where that is not there yet."""
    # Runs before that had a step of its own keep it in the tokenizer's.
    steps = [*view.of_stage("tokenizer-report"), *view.of_stage("tokenizer")]
    found = [(step, step.manifest.named("tokenizer-report")) for step in steps if step.manifest]
    step, entries = next(((step, entries) for step, entries in found if entries), (None, []))
    if step is None or step.folder is None:
        return {}
    try:
        return dict(orjson.loads(read_file(step.folder / entries[0].path)))
    except (OSError, orjson.JSONDecodeError):
        return {}


def written(clock: float | None = None) -> str:
    """When a page was written, to the minute, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(clock))
