"""Run a plan in an output folder: reuse what is done, run what is not, and leave a run file that names it
all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill import __version__
from gristmill.errors import UsageError
from gristmill.files.lock import hold_lock
from gristmill.files.storage import write_atomic
from gristmill.files.stores import store_of
from gristmill.manifest import MANIFEST, Manifest, find_manifest
from gristmill.pipeline.run.called import command_line
from gristmill.pipeline.run.chains import Chains, followers
from gristmill.pipeline.run.engine import inside_job
from gristmill.pipeline.run.engines import Engines, opened
from gristmill.pipeline.run.execute import execute
from gristmill.pipeline.run.folder import RUN_FILE, read_run
from gristmill.pipeline.run.intact import check_identity, check_intact
from gristmill.pipeline.run.job import Job, Onward
from gristmill.pipeline.run.losses import spell_lost
from gristmill.pipeline.run.narration.log import LOG
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.side_by_side import in_order, run_steps
from gristmill.pipeline.run.signals import stopped_by_signals
from gristmill.pipeline.run.step import Step, differences, identity, is_kept, step_folder


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe resolved into steps in the order they run; every input precedes its reader."""

    name: str
    seed: int
    steps: Sequence[Step]
    recipe: Mapping[str, Any]
    allowed_failures: int = 0
    later: Sequence[str] = ()  # stages of the recipe behind the one that this plan ends with
    keeps_ends: bool = False  # documents are written where a chain of steps ends, only

    def chains(self, out: Path) -> Chains:
        return Chains(out, self.seed, followers(self.steps) if self.keeps_ends else {})


@dataclass(frozen=True, slots=True)
class StepState:
    """Where a step stands: `done`, `incomplete` for want of named tasks, `stale` because of named changes, or
    `to run`."""

    step: Step
    state: str
    because: str = ""
    manifest: Manifest | None = None


@dataclass(slots=True)
class RunResult:
    manifests: dict[str, Manifest]
    reused: list[str]
    ran: list[str]
    seconds: float
    kept: list[str] = field(default_factory=list)  # of `reused`: made from something else than what is there

    @property
    def incomplete(self) -> list[str]:
        """The steps that were published without some of their tasks."""
        return [name for name, manifest in self.manifests.items() if manifest.lost]


def run_plan(plan: Plan, out: Path, engine: EngineSettings | Engines, progress: Progress) -> RunResult:
    """Bring `out` up to date with `plan`, on engines that are opened for it or that serve more than it.

    Raises UsageError when `out` belongs to something else, LockedError when another run holds it, StepFailed,
    Interrupted.
    """
    began = time.perf_counter()
    check_folder(out, plan.name)
    out = out.absolute()  # a cluster's workers have folders of their own
    result = RunResult({}, [], [], 0.0)
    progress.plan([step.name for step in plan.steps])
    with (
        hold_lock(out),
        progress.logged(out, command_line()),
        stopped_by_signals(),
        opened(engine, out, progress.note) as engines,
    ):
        chains = plan.chains(out)
        making = _Making(plan, out, engines, progress, result, _previous(out), chains)
        beside = engines.may_run_steps_beside
        run_steps(plan.steps, making.prepare, making.done, beside, progress, chains.needed)
        _write_run(out, plan, result, complete=not result.incomplete)
    result.seconds = time.perf_counter() - began
    return result


@dataclass
class _Making:
    """A run on its way: what steps are there, and what is to be done for one that is not."""

    plan: Plan
    out: Path
    engines: Engines
    progress: Progress
    result: RunResult
    previous: Mapping[str, Manifest]
    chains: Chains
    checked: set[Path] = field(default_factory=set)  # folders whose files were looked at
    rights: bool = False  # whether the store was asked what it allows

    def prepare(self, step: Step) -> Callable[[Progress], Manifest] | None:
        """Find a step that is there before; return the work of one that is not."""
        result, progress = self.result, self.progress
        inputs = {name: result.manifests[name] for name in step.inputs}
        facts = self._variant(step)
        key = identity(facts)
        folder = step_folder(self.out, step.name, key)
        before = self.previous.get(step.name)
        manifest = before if before and before.folder == folder else find_manifest(folder)
        if manifest:
            check_identity(step.name, manifest, key)
            if not manifest.lost and not self._lacks(step, facts):
                self._found(step, manifest)
                progress.found(step.name, _kept(manifest))
                return None
            if manifest.lost:
                progress.note(f"  {step.name}: {spell_lost(manifest)}; these are tried again", "warning")
            store_of(self.out).remove_files([folder / MANIFEST])  # unfinished again: its other tasks stay
        elif before and is_kept(step, before.ingredients, facts):
            self._found(step, before)
            result.kept.append(step.name)
            progress.found(step.name)
            progress.note(f"  {step.name}: kept as it is, though what it was made from has changed")
            return None
        if not self.rights:
            store_of(self.out).check_rights(self.out)
            self.rights = True
            self._check_what_will_be_read()
        check_intact(inputs, self.checked)
        _write_run(self.out, self.plan, result, complete=False)
        job = Job(step.name, step.slice, inputs, self.plan.seed, folder, step.holders, step.carried)
        allowed = self.plan.allowed_failures
        onward: list[Onward] = []
        if facts.get("handed_on") and not any(one.handed_on == step.name for one in inputs.values()):
            onward = self.chains.onward(step, facts, result.manifests)
            behind = ", ".join(one.step for one in onward)
            progress.note(f"  {step.name}: its tasks do the work of {behind}, too (keep: ends)")
        return lambda shown: execute(step, job, facts, key, self.engines, shown, allowed, onward)

    def _variant(self, step: Step) -> dict[str, Any]:
        """The ingredients of a step as it is there, or will be made: with documents of its own, or handing
        them on."""
        known = self.result.manifests
        facts = self.chains.ingredients(step, known)
        following = self.chains.after.get(step.name)
        if following is None or find_manifest(step_folder(self.out, step.name, identity(facts))):
            return facts
        return self.chains.ingredients(step, known, following.name)

    def _lacks(self, step: Step, facts: Mapping[str, Any]) -> bool:
        """Whether a finished step handed its documents on to one that is not there: its tasks are done
        again."""
        given = any(self.result.manifests[name].handed_on == step.name for name in step.inputs)
        handing = bool(facts.get("handed_on")) and not given
        return handing and self.chains.found(step, self.result.manifests) is None

    def _check_what_will_be_read(self) -> None:
        """Raise IntegrityError for a finished step that is not whole and that a step which has to be run
        reads: hours later it would stop the run."""
        known = dict(self.result.manifests)
        for step in self.plan.steps:
            inputs = {name: known[name] for name in step.inputs if name in known}
            if step.name not in known and len(inputs) == len(step.inputs):
                facts = self.chains.found(step, known) or self.chains.ingredients(step, known)
                folder = step_folder(self.out, step.name, identity(facts))
                old = find_manifest(folder) or self.previous.get(step.name)
                if old and not old.lost and (old.folder == folder or is_kept(step, old.ingredients, facts)):
                    known[step.name] = old
            if step.name not in known:
                check_intact(inputs, self.checked)

    def done(self, step: Step, manifest: Manifest) -> None:
        self.result.manifests[step.name] = manifest
        self.checked.add(manifest.folder)
        self.result.ran.append(step.name)
        self._in_order()

    def _found(self, step: Step, manifest: Manifest) -> None:
        self.result.manifests[step.name] = manifest
        self.result.reused.append(step.name)
        self._in_order()

    def _in_order(self) -> None:
        """The order of the plan, whichever step ended first: what a run ends with depends on it."""
        manifests = self.result.manifests
        order = [step.name for step in self.plan.steps]
        for names in (self.result.ran, self.result.reused):
            names.sort(key=order.index)
        self.result.manifests = {name: manifests[name] for name in order if name in manifests}


def _kept(manifest: Manifest) -> int | None:
    return manifest.books.items_out["kept"] if manifest.books else None


def states(plan: Plan, out: Path) -> list[StepState]:
    """Say for every step whether it is done, stale (and why) or to run; nothing is written."""
    previous = _previous(out)
    known: dict[str, Manifest] = {}
    found: list[StepState] = []
    chains = plan.chains(out)
    order = [step.name for step in plan.steps]
    for step in in_order(plan.steps, chains.needed):
        missing = [name for name in step.inputs if name not in known]
        if missing:
            stale = step.name in previous
            found.append(StepState(step, "stale" if stale else "to run", f"after {', '.join(missing)}"))
            continue
        facts = chains.ingredients(step, known)
        if find_manifest(step_folder(out, step.name, identity(facts))) is None:
            facts = chains.found(step, known) or chains.lossy(step, known) or facts
        folder = step_folder(out, step.name, identity(facts))
        if manifest := find_manifest(folder):
            if manifest.lost:
                found.append(StepState(step, "incomplete", spell_lost(manifest).partition(": ")[2], manifest))
                continue
            known[step.name] = manifest
            handed = f"its documents were handed on to {manifest.handed_on}" if manifest.handed_on else ""
            found.append(StepState(step, "done", handed, manifest))
        elif step.name in previous and is_kept(step, previous[step.name].ingredients, facts):
            known[step.name] = previous[step.name]
            because = "kept, though what it was made from has changed"
            found.append(StepState(step, "done", because, previous[step.name]))
        elif step.name in previous:
            found.append(StepState(step, "stale", _why_stale(step, previous[step.name], facts)))
        else:
            found.append(StepState(step, "to run"))
    return sorted(found, key=lambda state: order.index(state.step.name))


def _why_stale(step: Step, before: Manifest, facts: Mapping[str, Any]) -> str:
    changed = [name for name in differences(before.ingredients, facts) if name != "handed_on"]
    if not changed and before.handed_on:
        return f"its documents were handed on to {before.handed_on} and are wanted"
    return f"changed: {', '.join(changed[:4])}{' …' if len(changed) > 4 else ''}"


def check_folder(out: Path, name: str) -> None:
    """Refuse an output folder that holds something else than runs of this recipe, or that would not outlive a
    job."""
    if inside_job() and not out.is_absolute():
        raise UsageError(
            f"`--out {out}` is relative, in a job it must be absolute",
            hint="a job's working folder is a copy that is thrown away",
        )
    if out.is_file():
        raise UsageError(f"`{out}` is a file, an output needs a folder")
    if not out.exists() or not any(_is_foreign(entry.name) for entry in out.iterdir()):
        return
    if not (out / RUN_FILE).exists():
        raise UsageError(
            f"`{out}` is not empty and not an output of gristmill", hint="name a new folder with `--out`"
        )
    other = read_run(out)["recipe_name"]
    if other != name:
        raise UsageError(
            f"`{out}` holds the run of another recipe, `{other}`, not `{name}`",
            hint="name another folder with `--out`",
        )


def _is_foreign(name: str) -> bool:
    """Whether an entry of a folder without a run file is none that a run which ended early leaves."""
    return not name.startswith((".", LOG))


def _write_run(out: Path, plan: Plan, result: RunResult, *, complete: bool) -> None:
    steps = [
        {
            "name": name,
            "folder": manifest.folder.relative_to(out).as_posix(),
            "identity": manifest.identity,
            **({"kept": True} if name in result.kept else {}),
        }
        for name, manifest in result.manifests.items()
    ]
    keep = [
        entry
        for entry in _other_steps(out, result)
        if not complete or entry["name"].partition("/")[0] in plan.later
    ]
    data = {
        "format": 1,
        "gristmill": __version__,
        "recipe_name": plan.name,
        "complete": complete,
        "steps": steps,
        "previous": keep,
        "plan": [step.name for step in plan.steps],
        "recipe": dict(plan.recipe),
    }
    write_atomic(out / RUN_FILE, json.dumps(data, indent=1).encode() + b"\n")


def _other_steps(out: Path, result: RunResult) -> list[dict[str, str]]:
    """Steps that an earlier run finished and this one has not reached: `plan` compares with them, `gc` spares
    them."""
    if not (out / RUN_FILE).exists():
        return []
    old = read_run(out)
    entries = {entry["name"]: entry for entry in [*old.get("previous", []), *old["steps"]]}
    return [entry for name, entry in entries.items() if name not in result.manifests]


def _previous(out: Path) -> dict[str, Manifest]:
    """The steps that earlier runs finished here, whatever has changed since; incomplete ones are none."""
    if not (out / RUN_FILE).exists():
        return {}
    run = read_run(out)
    entries = [*run.get("previous", []), *run["steps"]]
    manifests = store_of(out).side_by_side(find_manifest, [out / entry["folder"] for entry in entries])
    return {entry["name"]: one for entry, one in zip(entries, manifests, strict=True) if one}
