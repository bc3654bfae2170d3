"""`verify`, `export`, `gc`: what to do with an output folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options

GROUP = listing.HAND_OVER


def register(app: typer.Typer) -> None:
    app.command("verify", rich_help_panel=listing.LOOK)(verify)
    app.command("export")(export)
    app.command("gc")(gc)


def verify(out: options.Out, json: options.Json = False) -> None:
    """Re-check every digest and every book of an output folder, and name the file that is off.

    Example: gristmill verify out/web
    """
    import orjson

    from gristmill.pipeline.look.verify import Checked
    from gristmill.pipeline.look.verify import verify as findings_of

    checked = Checked()
    findings = list(findings_of(out, checked))
    if json:
        listed = [{"path": finding.path, "problem": finding.problem} for finding in findings]
        print(
            orjson.dumps(
                {
                    "steps": checked.num_steps,
                    "files": checked.num_files,
                    "bytes": checked.num_bytes,
                    "findings": listed,
                }
            ).decode()
        )
    else:
        for finding in findings:
            print(f"{finding.path}: {finding.problem}")
        if not findings:
            print(
                f"all is well: {checked.num_steps} steps, {checked.num_files} files, {checked.num_bytes:,}"
                " bytes; the books balance"
            )
    raise typer.Exit(1 if findings else 0)


def export(
    out: options.Out,
    removed: Annotated[
        bool, typer.Option("--removed", help="What rules removed, instead of what was kept.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="What could not be read or extracted.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Of an incomplete run, what is there, and say up to which step.")
    ] = False,
    format: Annotated[str, typer.Option("--format", help="jsonl or parquet.")] = "jsonl",
    to: Annotated[
        Path | None,
        typer.Option("--to", help="A file; JSON lines go to stdout when unset.", show_default=False),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="The column that goes by `id`, such as input.id.", show_default=False),
    ] = None,
) -> None:
    """Write out documents: one JSON object a line on stdout, or a Parquet file.

    `--id input.id` lets documents go by the ids that their source gave them (`passthrough: [id]` kept them).

    Example: gristmill export out/web --removed | head -3
    """
    from gristmill.pipeline.look.export import export_jsonl, export_parquet

    if removed and failed:
        raise UsageError("`--removed` and `--failed` exclude each other")
    kind = "removed" if removed else "failed" if failed else "documents"
    if format == "parquet":
        if to is None:
            raise UsageError("`--format parquet` needs a file", hint="add `--to documents.parquet`")
        num_rows = export_parquet(out, kind, to, id_column=id_column, partial=partial)  # type: ignore[arg-type]
    elif format == "jsonl":
        if to is None:
            num_rows = export_jsonl(out, kind, id_column=id_column, partial=partial)  # type: ignore[arg-type]
        else:
            with to.open("wb") as file:
                num_rows = export_jsonl(out, kind, file, id_column=id_column, partial=partial)  # type: ignore[arg-type]
    else:
        raise UsageError(f"`--format` must be jsonl or parquet, got {format!r}")
    print(f"{num_rows:,} {kind} rows", file=sys.stderr)


def gc(
    out: options.Out,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
) -> None:
    """Remove what no manifest names: scratch and unfinished uploads of killed runs, and steps of older
    recipes.

    Example: gristmill gc out/web --dry-run
    """
    from gristmill.pipeline.look.collect import collect

    garbage = collect(out, dry_run=dry_run)
    for item in garbage:
        print(f"{item.bytes:>15,}  {item.name}")
    verb = "would be freed" if dry_run else "freed"
    print(f"{sum(item.bytes for item in garbage):,} bytes {verb}", file=sys.stderr)
