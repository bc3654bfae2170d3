"""`shards info|verify|export` and `trace`: look into token shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import IntegrityError, UsageError
from gristmill.files.location import location
from gristmill.pipeline.verbs import listing, options

Folder = Annotated[
    Path,
    typer.Argument(
        parser=location,
        metavar="FOLDER",
        help="A run, or a folder of shards (shards/train of its mix step).",
        show_default=False,
    ),
]

GROUP = listing.TOKENS


def register(app: typer.Typer) -> None:
    shards = typer.Typer(
        help="Look into token shards, check them, or write them in another form.", no_args_is_help=True
    )
    shards.command("info")(info)
    shards.command("verify")(verify)
    shards.command("export")(export)
    shards.command("balance")(balance)
    app.add_typer(shards, name="shards")
    app.command("trace", rich_help_panel=listing.LOOK)(trace)


def info(folder: Folder, json: options.Json = False) -> None:
    """Print what a shard set holds: sources with tokens, bytes, documents and epochs.

    Example: gristmill shards info out/web
    """
    import orjson

    from gristmill.pipeline.look.printing.figures import one_line
    from gristmill.pipeline.look.printing.tables import print_table
    from gristmill.token_shards import read_manifest
    from gristmill.tokenize.mixing.realised import misses

    manifest = read_manifest(_shards(folder), ("split", "kind", "vocab", "tokenizer"))
    if json:
        print(orjson.dumps(manifest).decode())
        return
    rows = [
        [
            one_line(s["name"]),
            f"{100 * s['proportion']:.4g} %" if "proportion" in s else "",
            f"{100 * s['realised']:.4g} %" if "realised" in s else "",
            f"{s['tokens']:,}",
            f"{s['bytes']:,}",
            f"{s['docs']:,}",
            f"{s['epochs']:.3f}" if s.get("epochs") else "",
        ]
        for s in manifest["sources"]
    ]
    head = ["source", "asked", "realised", "tokens", "bytes", "documents", "epochs"]
    print_table(head, rows, right=(1, 2, 3, 4, 5, 6))
    for line in misses(manifest["sources"]):
        print(one_line(line))
    tokens = sum(shard["tokens"] for shard in manifest["shards"])
    said = (
        f"{manifest['split']}, {manifest['kind']}: {_counted(manifest['shards'])}, {tokens:,} tokens of"
        f" {manifest['dtype']}, vocabulary {manifest['vocab']:,}, {manifest['tokenizer']}"
    )
    print(one_line(said))


def balance(
    out: Annotated[
        Path,
        typer.Argument(parser=location, metavar="OUT", help="A run's output folder.", show_default=False),
    ],
    json: options.Json = False,
) -> None:
    """Account for every token of a run: encoded, held out, in shards, in training, in none.

    Example: gristmill shards balance out/web
    """
    import orjson

    from gristmill.pipeline.look.printing.tables import print_table
    from gristmill.pipeline.look.token_balance import token_balance
    from gristmill.pipeline.run.folder import finished_steps

    found = token_balance(finished_steps(out))
    if json:
        print(orjson.dumps(found).decode())
        return
    names = ("text_bytes", "encoded", "heldout", "distinct", "unused", "shards", "difference")
    rows = [[row["source"], *(f"{row[name]:,}" for name in names)] for row in found["sources"]]
    rows.append(["all", *(f"{sum(row[name] for row in found['sources']):,}" for name in names)])
    print_table(["source", *(name.replace("_", " ") for name in names)], rows, right=range(1, 8))
    if trained := found.get("training"):
        heads = ("shards", "seen", "never_seen", "places", "in_steps", "padded", "masked", "skipped")
        numbers = [f"{trained[name]:,}" for name in heads]
        row = ["training", *numbers, f"{trained['epochs']:.3f}"]
        print_table(["", *(name.replace("_", " ") for name in heads), "epochs"], [row], right=range(1, 10))
    elif "training" in found:
        print("training: it was done by a version that did not count its tokens")
    if failed := sum(row["failed_documents"] for row in found["sources"]):
        print(f"{failed:,} documents that no encoder takes have no tokens")
    if lost := sum(row["lost_documents"] for row in found["sources"]):
        print(f"{lost:,} documents have no tokens: the tasks that were to encode them were lost")


def verify(folder: Folder) -> None:
    """Re-check every file of a shard set against its manifest.

    Example: gristmill shards verify out/web
    """
    from gristmill.token_shards import read_manifest
    from gristmill.tokenize.shards import verify as check

    folder = _shards(folder)
    if problems := check(folder):
        raise IntegrityError(
            "the shards are damaged:\n" + "\n".join(f"  {problem}" for problem in problems), where=str(folder)
        )
    print(f"checked {_counted(read_manifest(folder)['shards'])}: every file is as the manifest says")


def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            help="llmc, modded-nanogpt, mds (MosaicML), npy (OLMo), nanochat, datasets, webdataset."
        ),
    ] = "llmc",
) -> None:
    """Write shards in the form another trainer wants.

    Example: gristmill shards export out/web --format mds --out mds
    """
    from gristmill.tokenize.export import FORMATS
    from gristmill.tokenize.export import export as write

    if format not in FORMATS:
        raise UsageError(f"`--format` must be one of {', '.join(FORMATS)}, got {format!r}")
    for path in write(_shards(folder), out, format):
        print(path)


def _counted(shards: Sequence[object]) -> str:
    return f"{len(shards):,} shard{'' if len(shards) == 1 else 's'}"


def _shards(folder: Path) -> Path:
    from gristmill.pipeline.run.folder import result_of

    return result_of(folder, "mix", "shards/train")


def trace(
    out: options.Out,
    token: Annotated[
        str | None, typer.Argument(help="A token by its shard and number, 00000:1234.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Find this text in the shards instead.", show_default=False)
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Find what this step of training read instead.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="train or heldout.")] = "train",
    limit: Annotated[int, typer.Option(help="Documents shown at most, with --text or --step.", min=1)] = 10,
    json: options.Json = False,
) -> None:
    """Say which document a token of a run's shards came from: its URL, file and offset, and every decision
    taken on it.

    A shard's own path and a number do as well: `gristmill trace .../shards/train/00000.bin 1234`.

    Example: gristmill trace out/web 00000:1234

    Example: gristmill trace out/web --step 1200
    """
    import json as json_module

    from gristmill.pipeline.look.document.telling import plain, tell
    from gristmill.pipeline.look.document.tracing import trace_step, trace_text, trace_token
    from gristmill.pipeline.look.printing.figures import one_line
    from gristmill.pipeline.run.folder import run_of

    if sum(asked is not None for asked in (token, text, step)) != 1:
        raise UsageError("name a token such as 00000:1234, or give --text or --step")
    if out.suffix == ".bin":
        split, token, out = out.parent.name, token and f"{out.stem}:{token}", run_of(out)
    if step is not None:
        num, found = trace_step(out, step, limit)
        if not json:
            print(f"step {step} read {num:,} documents; {len(found):,} of them:\n")
    elif token is not None:
        found = [trace_token(out, split, token)]
    else:
        found = trace_text(out, split, text or "", limit)
    for number, traced in enumerate(found):
        if json:
            print(json_module.dumps(traced.as_json(), default=plain))
            continue
        if number:
            print()
        for name, value in traced.place.items():
            print(f"{name:9} {one_line(str(value), 300)}")
        print()
        for line in tell(traced.life):
            print(line)
