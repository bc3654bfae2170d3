"""`verify`, `export`, `gc`: what to do with an output folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.files.inside import inert
from gristmill.files.location import location
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
            print(inert(f"{finding.path}: {finding.problem}"))
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
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            parser=location,
            metavar="PATH",
            help="A file, a folder or a URL; its ending decides. JSON lines go to stdout when unset.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of a folder's files: jsonl, jsonl.gz, jsonl.zst, parquet (default), arrow.",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(help="native, huggingface, fineweb, dolma, c4, redpajama-v1 or redpajama-v2 columns."),
    ] = "native",
    split: Annotated[
        str,
        typer.Option(help="all, train, heldout, or both: a folder with files of each."),
    ] = "all",
    size: Annotated[str, typer.Option("--size", help="Of each file of a folder, about.")] = "512M",
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="The column that goes by `id`, such as input.id.", show_default=False),
    ] = None,
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
) -> None:
    """Write out documents: JSON lines on stdout, one file as its ending says (.jsonl, .jsonl.gz, .jsonl.zst,
    .parquet, .arrow), or a folder of sharded files, here or at a URL.

    In the layouts of published corpora ids are strings, the source's own where documents carry them
    (`passthrough: [id]`), and columns of JSON are objects. `--split both` parts what is held out.

    Example: gristmill export out/web --to corpus --layout dolma --format jsonl.zst --split both
    """
    from gristmill.pipeline.look.export import Wanted, export_file, export_folder, export_stream
    from gristmill.pipeline.phases.exporting.export_files import FORMATS, format_of

    kind = "removed" if removed else "failed" if failed else "documents"
    of_file = format_of(to.name) if to is not None and not str(to).endswith("/") else None
    for wrong, said, hint in (
        (removed and failed, "`--removed` and `--failed` exclude each other", None),
        (format not in (None, *FORMATS), f"`--format` is {format!r}", f"one of {', '.join(FORMATS)}"),
        (split not in _SPLITS, f"`--split` is {split!r}", f"one of {', '.join(_SPLITS)}"),
        (split != "all" and kind != "documents", "`--split` is of documents that are kept", None),
        (
            of_file is not None and format not in (None, of_file),
            f"`--to {to}` is a {of_file} file, `--format` says {format}",
            "the ending decides: leave `--format` out",
        ),
        (
            split == "both" and (to is None or of_file is not None),
            "`--split both` writes several files",
            "name a folder with `--to`",
        ),
        (to is None and format not in (None, "jsonl"), f"`--format {format}` needs a file", "add `--to`"),
    ):
        if wrong:
            raise UsageError(said, hint=hint)
    wanted = Wanted(kind, layout, id_column, split, partial, spelled_bytes(size))  # type: ignore[arg-type]
    if to is None:
        num_rows = export_stream(out, wanted, sys.stdout.buffer)
    elif of_file is not None:
        num_rows = export_file(out, wanted, to)
    else:
        from gristmill.pipeline.run.narration.progress import Progress
        from gristmill.pipeline.run.settings import EngineSettings

        settings = EngineSettings().with_said(kind=engine, workers=workers, address=address)
        progress = Progress(quiet=quiet)
        num_rows, names = export_folder(out, wanted, to, format or "parquet", settings, progress)
        print(f"{len(names):,} files in {to}", file=sys.stderr)
    print(f"{num_rows:,} {kind} rows", file=sys.stderr)


_SPLITS = ("all", "train", "heldout", "both")


def spelled_bytes(size: str) -> int:
    """Read a size such as 512M or 1Gi; raises UsageError for what is none."""
    from gristmill.overrides import parse_number

    number = parse_number(size) or (int(size) if size.isdecimal() else None)
    if not number or number < 1:
        raise UsageError(f"`--size` is {size!r}, it must be a size such as 512M or 1Gi")
    return int(number)


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
        print(f"{item.bytes:>15,}  {inert(item.name)}")
    verb = "would be freed" if dry_run else "freed"
    print(f"{sum(item.bytes for item in garbage):,} bytes {verb}", file=sys.stderr)
