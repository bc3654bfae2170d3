"""`compare`: two runs side by side, or a run beside a published set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.files.location import location
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
            parser=location,
            metavar="OUT_B",
            help="The output folder of another, or a published set: Parquet files, a folder or a glob.",
            show_default=False,
        ),
    ],
    columns: Annotated[
        str, typer.Option("--columns", help="The layout of a published set: fineweb, dclm, c4, a YAML file.")
    ] = "fineweb",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="Judge what the published set lacks by the filters of this recipe of the package.",
            show_default=False,
        ),
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as a page, too.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Lay two runs side by side: funnel, rules, documents that changed sides and why, mixture, loss. Beside a
    published set: by URL, which step and rule took what they have, and what would have taken what they lack.

    Example: gristmill compare out/strict out/loose --html comparison.html
    """
    import json as json_module

    from gristmill.errors import UsageError
    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.look import comparison, published
    from gristmill.pipeline.report.comparison_page import render
    from gristmill.pipeline.run.folder import RUN_FILE

    if not (other / RUN_FILE).exists():
        if html:
            raise UsageError(
                "`--html` is for two runs", hint="`--json` writes all there is of a published set"
            )
        against = published.compare_published(one, str(other), columns, recipe)
        lines = published.tell(against)
        print(json_module.dumps(published.as_json(against)) if json else "\n".join(lines))
        return
    found = comparison.compare(one, other)
    if html:
        write_atomic(html, render(found).encode())
    if json:
        print(json_module.dumps(comparison.as_json(found)))  # ASCII: a terminal obeys none of it
    else:
        for line in comparison.tell(found):
            print(line)
