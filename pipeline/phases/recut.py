"""Decide a finished filter step anew from its signals: one task per file that it filtered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from gristmill.errors import IncompleteError
from gristmill.files.location import location
from gristmill.files.storage import read_tables
from gristmill.filters.recut import recut, recut_filters
from gristmill.filters.settings import FilterSettings
from gristmill.manifest import Manifest, read_manifest
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.filter import FilterOutcomes, described
from gristmill.pipeline.run.folder import finished_steps, read_run
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.losses import spell_lost
from gristmill.pipeline.run.runner import Plan
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.stages.filter import RECUT, FilterSlice, RecutSlice


def filters_of(run: Path) -> dict[str, FilterSlice]:
    """The settings of every filter step of a finished run."""
    return {
        name: FilterSlice.model_validate(manifest.ingredients["settings"])
        for name, manifest in finished_steps(run).items()
        if manifest.ingredients["stage"] == "filter"
    }


def recut_plan(
    run: Path, change: Callable[[FilterSettings], FilterSettings | None], *, partial: bool = False
) -> Plan:
    """Plan a recut of the filter steps of a finished run; `change` maps their filter settings to the new
    ones, and to None those of a step that is left as it is.

    Raises UsageError where the new settings need more than stored signals, and IncompleteError where a step,
    or one that it reads, lost tasks, unless `partial`: their documents would be missing without a word.
    """
    manifests = finished_steps(run)
    facts = read_run(run)
    steps = []
    for name, piece in filters_of(run).items():
        manifest = manifests[name]
        (before,) = (manifests[step] for step in manifest.ingredients["inputs"])
        new = change(piece.filter)
        if new is None:
            continue
        recut_filters(piece.filter, new, manifest.ingredients["seed"])
        if lossy := _lossy(name, manifests):
            said = f"the step `{lossy.step}` of `{run}` is {spell_lost(lossy)}"
            if not partial:
                hint = "run its recipe again, or decide anew on what is there with `--partial`"
                raise IncompleteError(said, hint=hint)
            print(f"partial: {said}", file=sys.stderr)
        external = {"filtered": manifest.content_digest, "documents": before.content_digest}
        own = RecutSlice(
            source=piece.source,
            folder=str(manifest.folder.absolute()),
            documents=str(before.folder.absolute()),
            before=piece.filter,
            filter=new,
            keep_removed=piece.keep_removed,
        )
        steps.append(Step(name, RECUT, own, external=external))
    return Plan(f"recut-{facts['recipe_name']}", _seed(manifests), steps, {"recut": str(run)})


def _lossy(name: str, manifests: Mapping[str, Manifest]) -> Manifest | None:
    """The first step, of those that a step stands on and itself, that was published without some tasks."""
    manifest = manifests[name]
    below = [step for step in manifest.ingredients["inputs"] if step in manifests]
    before = next((found for step in below if (found := _lossy(step, manifests))), None)
    return before or (manifest if manifest.lost else None)


def _seed(manifests: dict[str, Manifest]) -> int:
    return next((manifest.ingredients["seed"] for manifest in manifests.values()), 0)


def recut_documents(job: Job[RecutSlice]) -> Stage:
    settings = job.settings
    filtered, documents = (
        read_manifest(location(settings.folder)),
        read_manifest(location(settings.documents)),
    )
    inputs = [documents.folder / entry.path for entry in documents.written(settings.source)]
    tasks = []
    for record in filtered.read_records():
        files = {entry.kind: str(filtered.folder / entry.path) for entry in record.files}
        sides = {kind: files.get(kind) for kind in ("decisions", "signals")}
        tasks.append(Task(record.task, recut_file, {"path": str(inputs[int(record.task)]), **sides}))
    yield Phase("recut", tasks, may_lose=True)
    return described(recut_filters(settings.before, settings.filter, job.seed).new)


def recut_file(task: Attempt[RecutSlice], path: str, decisions: str | None, signals: str | None) -> None:
    """Decide one file anew; a file without documents has no decisions.

    All three files were written by one writer, row by row beside each other: so are their groups of rows.
    """
    settings = task.settings
    filters = recut_filters(settings.before, settings.filter, task.seed)
    outcomes = FilterOutcomes(task, filters.new, extra_fields(Path(path)), settings.source, by_url=True)
    if decisions and signals:
        for tables in zip(*(read_tables(Path(file)) for file in (path, decisions, signals)), strict=True):
            outcomes.add(tables[0], recut(filters, *tables))
    outcomes.publish()
