"""`card` and `publish`: what a corpus says of itself, and how it is handed to the world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.files.location import location
from gristmill.pipeline.verbs import listing, options

GROUP = listing.HAND_OVER
Licence = Annotated[
    str, typer.Option("--licence", help="The corpus' own, as the Hub spells it: odc-by, cc0-1.0, other.")
]
Url = Annotated[str | None, typer.Option(help="Where it will be found.", show_default=False)]
Creator = Annotated[str | None, typer.Option(help="Who publishes it.", show_default=False)]


def register(app: typer.Typer) -> None:
    app.command("card")(card)
    app.command("publish")(publish)


def card(
    out: options.Out,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", parser=location, metavar="PATH", help="The folder to write; OUT/card when unset.",
            show_default=False,
        ),
    ] = None,
    licence: Licence = "other",
    url: Url = None,
    creator: Creator = None,
) -> None:  # fmt: skip
    """Write a corpus' card: README.md with the Hub's YAML, Croissant JSON-LD, statistics and the recipe.

    Documents, bytes and tokens by source, language, domain, year and length; the funnel; licences, personal
    data, opt-outs, decontamination; known limits; versions, digests, and the command that makes it again.

    Example: gristmill card out/web --licence odc-by
    """
    from gristmill.pipeline.look.publishing.publish import write_card

    about = _about(licence, url, creator)
    for path in write_card(out, to or out / "card", about):
        print(path)


def publish(
    out: options.Out,
    to: Annotated[
        Path,
        typer.Option(
            "--to", parser=location, metavar="PATH",
            help="A folder, an s3:// prefix or hf://datasets/NAME/REPOSITORY.", show_default=False,
        ),
    ],
    layout: Annotated[str, typer.Option(help="huggingface, or any of `export`.")] = "huggingface",
    format: Annotated[str, typer.Option("--format", help="parquet, jsonl.gz or jsonl.zst.")] = "parquet",
    size: Annotated[str, typer.Option("--size", help="Of each file, about.")] = "512M",
    licence: Licence = "other",
    url: Url = None,
    creator: Creator = None,
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Lay a corpus out as a repository: sharded files in splits, card, Croissant, statistics, recipe, a
    manifest with every digest, and the report.

    Example: gristmill publish out/web --to hf://datasets/me/web --licence odc-by
    """
    from gristmill.errors import UsageError
    from gristmill.pipeline.look.export import Wanted
    from gristmill.pipeline.look.publishing.publish import publish as write
    from gristmill.pipeline.run.narration.progress import Progress
    from gristmill.pipeline.run.settings import EngineSettings
    from gristmill.pipeline.verbs.outputs import spelled_bytes

    if format not in ("parquet", "jsonl", "jsonl.gz", "jsonl.zst"):
        raise UsageError(f"`--format` is {format!r}", hint="one of parquet, jsonl, jsonl.gz, jsonl.zst")
    wanted = Wanted(layout=layout, max_bytes=spelled_bytes(size))
    settings = EngineSettings().with_said(kind=engine, workers=workers, address=address)
    about = _about(licence, url, creator)
    for path in write(out, to, wanted, format, about, settings, Progress(quiet=quiet)):
        print(path)


def _about(licence: str, url: str | None, creator: str | None) -> dict[str, str]:
    given = {"license": licence, "url": url, "creator": creator}
    return {name: value for name, value in given.items() if value}
