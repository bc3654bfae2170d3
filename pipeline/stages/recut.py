"""Decide a finished filter step anew from its signals: one task per file that it filtered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.filters.recut import recut, recut_filters
from gristmill.filters.run import FilterOutcome
from gristmill.filters.settings import FilterSettings
from gristmill.ledger import Books
from gristmill.manifest import Manifest, read_manifest
from gristmill.pipeline.cuts import CutObserver
from gristmill.pipeline.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.outputs import DocumentOutputs
from gristmill.pipeline.run import Plan
from gristmill.pipeline.run_folder import finished_steps, read_run
from gristmill.pipeline.slices import FilterSlice, RecutSlice
from gristmill.pipeline.stages.adopt import extra_fields
from gristmill.pipeline.stages.filter import SideFiles, book
from gristmill.pipeline.steps import Step


def recut_plan(run: Path, change: Any) -> Plan:
    """Plan a recut of every filter step of a finished run; `change` maps its filter settings to the new ones.

    Raises UsageError where the new settings need more than stored signals.
    """
    manifests = finished_steps(run)
    facts = read_run(run)
    steps = []
    for name, manifest in manifests.items():
        if manifest.ingredients["stage"] != "filter":
            continue
        piece = FilterSlice.model_validate(manifest.ingredients["settings"])
        (before,) = (manifests[step] for step in manifest.ingredients["inputs"])
        new = change(piece.filter)
        recut_filters(piece.filter, new, manifest.ingredients["seed"])
        external = {"filtered": manifest.content_digest, "documents": before.content_digest}
        own = RecutSlice(
            source=piece.source,
            folder=str(manifest.folder.absolute()),
            documents=str(before.folder.absolute()),
            before=piece.filter,
            filter=new,
            keep_removed=piece.keep_removed,
        )
        steps.append(Step(name, "recut", own, external=external))
    return Plan(f"recut-{facts['recipe_name']}", _seed(manifests), steps, {"recut": str(run)})


def _seed(manifests: dict[str, Manifest]) -> int:
    return next((manifest.ingredients["seed"] for manifest in manifests.values()), 0)


def recut_documents(job: Job) -> Stage:
    settings: RecutSlice = job.settings
    filtered, documents = read_manifest(Path(settings.folder)), read_manifest(Path(settings.documents))
    inputs = [documents.folder / entry.path for entry in documents.named("documents") if entry.source == settings.source]
    tasks = []
    for record in filtered.read_records():
        files = {entry.kind: str(filtered.folder / entry.path) for entry in record.files}
        paths = {"documents": str(inputs[int(record.task)]), "decisions": files.get("decisions"), "signals": files.get("signals")}
        arguments = settings.model_dump(mode="json", exclude={"folder", "documents"})
        tasks.append(Task(record.task, recut_file, {"paths": paths, "seed": job.seed, "settings": arguments}))
    yield Phase("recut", tasks)
    pair = recut_filters(settings.before, settings.filter, job.seed)
    return {"rules": list(pair.new.rules)}


def recut_file(task: Attempt, paths: dict[str, Any], seed: int, settings: dict[str, Any]) -> None:
    """Decide one file anew; a file without documents has no decisions."""
    before, after = (FilterSettings.model_validate(settings[name]) for name in ("before", "filter"))
    filters = recut_filters(before, after, seed)
    source, path = settings["source"], Path(paths["documents"])
    outputs = DocumentOutputs(task, source, seed, extra_fields(path), keep_removed=settings["keep_removed"])
    sides = SideFiles(task, source)
    cuts = CutObserver(filters.new, seed)
    books = Books()
    if paths["decisions"]:
        table: pa.Table = pq.read_table(path)
        decisions, signals = (pq.read_table(paths[name]) for name in ("decisions", "signals"))
        outcome: FilterOutcome = recut(filters, table, decisions, signals)
        outputs.keep(outcome.kept)
        outputs.remove(outcome.removed)
        sides.write(outcome)
        cuts.see(table, outcome)
        book(books, table, outcome)
    task.record.books = books
    sides.publish()
    outputs.publish()
    cuts.into(task.record)
