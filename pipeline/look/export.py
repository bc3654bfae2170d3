"""Hand documents over: what a run kept, removed, or failed on, as a stream, a file, or files of a size.

The ending of the target decides: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow; any other name is a folder
of sharded files, written by as many tasks as there are CPUs. All of them may lie at a URL.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from gristmill.errors import UsageError
from gristmill.files.location import RemotePath, location
from gristmill.files.parquet import parquet_schema
from gristmill.files.stores import store_of
from gristmill.heldout import is_heldout, units
from gristmill.manifest import Manifest
from gristmill.pipeline.phases.exporting.export import (
    EXPORT,
    ExportFacts,
    ExportSlice,
    HandedFile,
    handed_tables,
)
from gristmill.pipeline.phases.exporting.export_files import JsonLines, deliver, format_of, open_file, united
from gristmill.pipeline.phases.exporting.export_layouts import LAYOUTS, Handing
from gristmill.pipeline.run.folder import decides_on_documents, handed_on, read_run
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.records.final import SourceFiles, final_documents, outlet
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.sources.settings import stored_name

Kind = Literal["documents", "removed", "failed"]
_WRITTEN = re.compile(r"(train|heldout|test)-\d{5,}(-\d{3,})?\.(jsonl(\.gz|\.zst)?|parquet|arrow)")
RECORDS = ".export"  # below a folder that is being exported to, until it is whole


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to hand over, and how; `split` is train or heldout where only one side of a mixture is wanted,
    both where each gets files of its own."""

    kind: Kind = "documents"
    layout: str = "native"
    id_column: str | None = None
    split: str = "all"
    partial: bool = False
    max_bytes: int = 512 << 20


def export_jsonl(
    out: Path,
    kind: Kind,
    target: BinaryIO | None = None,
    *,
    id_column: str | None = None,
    partial: bool = False,
) -> int:
    """Write one JSON object a line and return their number; ids are hex, dates ISO 8601, `step` says who let
    them go. `id_column` names the column that goes by `id` instead.

    Raises IncompleteError where documents are asked for that a missing step was to decide on, unless
    `partial`.
    """
    return export_stream(out, Wanted(kind, id_column=id_column, partial=partial), target or sys.stdout.buffer)


def export_stream(out: Path, wanted: Wanted, target: BinaryIO) -> int:
    """Write JSON lines to an open file; raises what `export_jsonl` raises."""
    lines = JsonLines(target)
    for part, file in _files(out, wanted):
        _write(lines, part, file, wanted, out)
    lines.close()
    return lines.num_rows


def export_file(out: Path, wanted: Wanted, target: Path) -> int:
    """Write one file, as its ending says, and return the number of rows; it appears when it is whole."""
    kind = format_of(target.name)
    if kind is None:
        raise UsageError(f"`{target}` has no ending that says what to write")
    files = list(_files(out, wanted))
    schema = schema_of([file for _, file in files], wanted.layout)
    if kind in ("parquet", "arrow") and not files:
        raise UsageError(f"`{out}` holds no {wanted.kind} rows to export")
    remote = isinstance(target, RemotePath)
    if not remote:
        target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=None if remote else target.parent) as folder:
        local = Path(folder) / "rows"
        writer = open_file(local, kind, schema)
        for part, file in files:
            _write(writer, part, file, wanted, out)
        writer.close()
        deliver(local, target)
    return writer.num_rows


def export_folder(
    out: Path, wanted: Wanted, target: Path, kind: str, engine: EngineSettings, progress: Progress
) -> tuple[int, list[str]]:
    """Write a folder of files of a size on an engine; return the number of rows and the files' names.

    A stopped export goes on where it was; of one with other options the files go. Raises UsageError for a
    folder that holds something else.
    """
    records = target / RECORDS
    _check_target(target, records)
    files = [file for _, file in _files(out, replace(wanted, split="all"))]
    if not files:
        raise UsageError(f"`{out}` holds no {wanted.kind} rows to export")
    seed, fraction = _mixture(out)
    names = {"huggingface": "test", "fineweb": "test"}  # what `datasets` knows a split by
    piece = ExportSlice(
        target=str(target if isinstance(target, RemotePath) else target.absolute()),
        format=kind,
        layout=wanted.layout,
        max_bytes=wanted.max_bytes,
        heldout_fraction=fraction if wanted.split == "both" else None,
        heldout_name=names.get(wanted.layout, "heldout"),
        fields=schema_of(files, wanted.layout).serialize().to_pybytes().hex(),
    )
    external = {file.path: str(file.num_bytes) for file in files}
    step = Step("export", EXPORT, piece, external=external, carried={"files": files})
    plan = Plan(f"export-{read_name(out)}", seed, [step], {"export": str(out)})
    manifest = run_plan(plan, records, engine, progress).manifests["export"]
    facts = ExportFacts.of(manifest.extra)
    here = {path.name: path for path in target.iterdir() if _WRITTEN.fullmatch(path.name)}
    # Those of an export that was stopped, and was of another size or layout, go.
    store_of(target).remove_files([here[name] for name in sorted(here.keys() - {*facts.files})])
    _remove(records)
    return facts.rows, facts.files


def files_of(out: Path, wanted: Wanted) -> list[HandedFile]:
    """The files that an export reads."""
    return [file for _, file in _files(out, wanted)]


def read_name(out: Path) -> str:
    """The name of a run's recipe; of a step's own folder, the folder's."""
    try:
        return str(read_run(out)["recipe_name"])
    except UsageError:
        return out.name


def schema_of(files: Sequence[HandedFile], layout: str) -> pa.Schema:
    """The schema of all files in a layout; columns that some sources have and others not are null there."""
    schemas: dict[tuple[str, str], pa.Schema] = {}
    for file in files:
        empty = parquet_schema(location(file.path)).empty_table()
        if layout == "fineweb" and file.tokens is not None:
            empty = empty.append_column("token_count", pa.array([], pa.int64()))
        shaped = LAYOUTS[layout](empty, file.handing).schema.remove_metadata()
        schemas[(file.handing.source, str(shaped))] = shaped
    return united(list(schemas.values()))


def _write(writer: Any, part: SourceFiles, file: HandedFile, wanted: Wanted, out: Path) -> None:
    layout = LAYOUTS[wanted.layout]
    for table in handed_tables(file, wanted.layout):
        if wanted.split in ("train", "heldout"):
            seed, fraction = _mixture(out)
            held = is_heldout(seed, fraction, units(table))
            table = table.filter(pa.array(held if wanted.split == "heldout" else ~held))
        writer.write(layout(table, file.handing), wanted.layout, file.handing)


def _files(out: Path, wanted: Wanted) -> Iterator[tuple[SourceFiles, HandedFile]]:
    if wanted.layout not in LAYOUTS:
        raise UsageError(f"`--layout` is {wanted.layout!r}", hint=f"one of {', '.join(LAYOUTS)}")
    handed = handed_on(
        out,
        partial=wanted.partial or wanted.kind != "documents",
        hint="take what is there with `--partial`",
    )
    manifests = handed.manifests
    if handed.lacks:
        last = next((name for name in reversed(manifests) if decides_on_documents(name)), "nothing")
        print(f"partial: {handed.lacks}; what follows stands as of `{last}`", file=sys.stderr)
    parts = final_documents(manifests) if wanted.kind == "documents" else outlet(manifests, wanted.kind)
    json_columns = _json_columns(out)
    for part in parts:
        step = "" if wanted.kind == "documents" else part.step
        handing = Handing(part.source, wanted.id_column, tuple(json_columns.get(part.source, ())), step)
        tokens = _token_indexes(manifests, part) if wanted.kind == "documents" else []
        for number, (path, entry) in enumerate(part.files):
            index = tokens[number] if tokens else None
            yield part, HandedFile(str(path), entry.bytes, handing, index)


def _token_indexes(manifests: Mapping[str, Manifest], part: SourceFiles) -> list[str]:
    """The token indexes of a source's files, one for one; none where it was not encoded, or in part."""
    manifest = manifests.get(f"encode/{part.source}")
    if manifest is None:
        return []
    entries = [entry for entry in manifest.named("token-index") if entry.source == part.source]
    return [str(manifest.folder / entry.path) for entry in entries] if len(entries) == len(part.files) else []


def _json_columns(out: Path) -> dict[str, list[str]]:
    """The pass-through columns that hold JSON, by source."""
    try:
        sources = read_run(out).get("recipe", {}).get("sources", {})
    except UsageError:
        return {}
    found: dict[str, list[str]] = {}
    for name, source in sources.items():
        kinds = source.get("passthrough", {})
        found[name] = [stored_name(column) for column, kind in kinds.items() if kind == "json"]
    return found


def _mixture(out: Path) -> tuple[int, float]:
    """The seed and fraction by which a run's documents are held out; none of one without a mixture."""
    try:
        recipe = read_run(out).get("recipe", {})
    except UsageError:
        recipe = {}
    return int(recipe.get("seed", 1)), float(recipe.get("mix", {}).get("heldout_fraction", 0.0))


def _check_target(target: Path, records: Path) -> None:
    if target.is_file():
        raise UsageError(f"`{target}` is a file, several files need a folder")
    if target.exists() and any(target.iterdir()) and not records.exists():
        raise UsageError(f"`{target}` is not empty", hint="name a new folder with `--to`")


def _remove(folder: Path) -> None:
    if isinstance(folder, RemotePath):
        store_of(folder).remove(folder)
    else:
        shutil.rmtree(folder)
