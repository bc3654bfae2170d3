"""`compare`: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.location import location
from gristmill.pipeline.verbs import listing, options

GROUP = listing.MEASURE


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    one: Annotated[
        Path,
        typer.Argument(
            parser=location,
            metavar="OUT_A",
            help="The output folder of a run, or its URL.",
            show_default=False,
        ),
    ],
    other: Annotated[
        Path,
        typer.Argument(
            parser=location, metavar="OUT_B", help="The output folder of another.", show_default=False
        ),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as a page, too.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Lay two runs side by side: funnel, rules, documents that changed sides and why, mixture, loss.

    Example: gristmill compare out/strict out/loose --html comparison.html
    """
    import json as json_module

    from gristmill.pipeline.look import comparison
    from gristmill.pipeline.report.comparison_page import render
    from gristmill.storage import write_atomic

    found = comparison.compare(one, other)
    if html:
        write_atomic(html, render(found).encode())
    if json:
        print(json_module.dumps(comparison.as_json(found)))  # ASCII: a terminal obeys none of it
    else:
        for line in comparison.tell(found):
            print(line)
