"""`why`: what became of one document, and because of what."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.verbs import listing, options

GROUP = listing.LOOK


def register(app: typer.Typer) -> None:
    app.command("why")(why)


def why(
    out: options.Out,
    asked: Annotated[
        str, typer.Argument(metavar="URL|ID|TEXT", help="A document's URL, its id, or a piece of its text.")
    ],
    json: options.Json = False,
) -> None:
    """Tell the whole life of one document: where it came from, what every step decided, where it ended.

    Ids and URLs are looked up by index, at once; for a piece of text the documents are searched.

    Example: gristmill why out/web https://example.org/page.html
    """

    from gristmill.pipeline.look.document.life import look_up
    from gristmill.pipeline.look.document.telling import as_json, tell

    life = look_up(out, asked)
    if json:
        print(as_json(life))
    else:
        for line in tell(life):
            print(line)
    raise typer.Exit(0 if life.id else 1)
