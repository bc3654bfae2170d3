"""`inspect`: read the documents of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options

GROUP = listing.LOOK


def register(app: typer.Typer) -> None:
    app.command("inspect")(inspect)


def inspect(
    out: options.Out,
    removed: Annotated[
        bool, typer.Option("--removed", help="What rules removed, instead of what was kept.")
    ] = False,
    removed_by: Annotated[
        str | None, typer.Option("--removed-by", metavar="RULE", help="What fails one rule.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="What could not be read or extracted.")] = False,
    near_cut: Annotated[
        str | None, typer.Option("--near-cut", metavar="RULE", help="Nearest to a rule's cut, both sides.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Of one source.", show_default=False)] = None,
    domain: Annotated[
        str | None, typer.Option(help="Of one domain and what is below it.", show_default=False)
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="That hold a text, in any case.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to print where nobody can press a key.", min=1)] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Read in the browser, served on this machine only.")
    ] = False,
    port: Annotated[int, typer.Option(help="With --web; 0 takes a free one.", min=0, max=65535)] = 0,
) -> None:
    """Read documents: kept, removed, failed or near a cut; what filters took out is shown in place.

    On a terminal n and p (or j and k) go to the next and the previous, q leaves.

    Example: gristmill inspect out/web --removed-by gopher.mean_word_length
    """
    from gristmill.pipeline.look.documents import Query, Shelf

    chosen = [
        name
        for name, value in (
            ("--removed", removed or removed_by),
            ("--failed", failed),
            ("--near-cut", near_cut),
        )
        if value
    ]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(f'`{name}`' for name in chosen)} exclude each other")
    outlet = "removed" if removed or removed_by else "failed" if failed else "kept"
    query = Query(outlet, removed_by, near_cut, source, domain, search)  # type: ignore[arg-type]
    if web:
        from gristmill.pipeline.report.inspect_server import serve

        serve(out, query, port)
        return
    from gristmill.pipeline.look.reader import print_all, print_json, turn_pages

    shelf = Shelf(out, query)
    if json:
        print_json(shelf, limit)
    elif not turn_pages(shelf):
        print_all(shelf, limit)
