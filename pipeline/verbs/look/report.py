"""`report`: one page about a run, to look at and to share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.pipeline.verbs import listing, options

GROUP = listing.LOOK


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    out: options.Out,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Where the page goes; OUT/report.html when unset.", show_default=False),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it again every minute until the run is complete.")
    ] = False,
) -> None:
    """Write one HTML file about a run, finished or not: it opens offline and holds samples, not the data.

    Example: gristmill report out/web
    """
    import time

    from gristmill.pipeline.look.reading import read_view
    from gristmill.pipeline.report.page import write_report

    while True:
        began = time.monotonic()
        print(write_report(out, to))
        if not watch or read_view(out).state != "running":
            return
        time.sleep(max(60.0, 10 * (time.monotonic() - began)))
