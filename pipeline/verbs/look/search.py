"""`search`: find documents of a run by what they say."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.verbs import listing, options

GROUP = listing.LOOK
_SIDES = {"documents": "kept", "removed": "removed"}


def register(app: typer.Typer) -> None:
    app.command("search")(search)


def search(
    out: options.Out,
    words: Annotated[str, typer.Argument(help='Words, or "phrases" in double quotes.', show_default=False)],
    kept: Annotated[bool, typer.Option("--kept", help="Only what is kept.")] = False,
    removed: Annotated[bool, typer.Option("--removed", help="Only what was removed.")] = False,
    source: Annotated[str | None, typer.Option(help="Of one source.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="Documents shown at most.", min=0)] = 10,
    json: options.Json = False,
) -> None:
    """Find kept and removed documents by the run's text index (`index: text`), with counts by source and
    rule.

    Example: gristmill search out/web '"cookie policy" consent' --removed
    """
    import orjson

    from gristmill.errors import UsageError
    from gristmill.pipeline.look.documents import check_source
    from gristmill.pipeline.look.printing.figures import one_line
    from gristmill.pipeline.look.search import excerpt
    from gristmill.pipeline.look.search import search as find
    from gristmill.pipeline.look.unfound import spelt, why_none
    from gristmill.pipeline.run.folder import finished_steps

    if kept and removed:
        raise UsageError("`--kept` and `--removed` exclude each other")
    check_source(finished_steps(out), source)
    outlet = "documents" if kept else "removed" if removed else None
    found = find(out, words, limit, outlet=outlet, source=source)
    if json:
        for hit in found.hits:
            row = hit.read(("id", "url", "text"))
            said = {"id": row["id"].hex(), "url": row.get("url"), "outlet": hit.outlet, "step": hit.step}
            said |= {"source": hit.source, "rule": hit.rule, "text": excerpt(row.get("text") or "", words)}
            print(orjson.dumps(said).decode())
        return
    total = sum(found.by_outlet.values())
    sides = ", ".join(
        f"{found.by_outlet[side]:,} {name}" for side, name in _SIDES.items() if outlet in (None, side)
    )
    hold = "document holds" if total == 1 else "documents hold"
    print(one_line(f"{total:,} {hold} {spelt(words)}: {sides}"))
    for line in () if total else why_none(out, words, outlet=outlet, source=source):
        print(f"  {one_line(line)}")
    for title, counts in (("source", found.by_source), ("removed by", found.by_rule)):
        for name, number in counts.most_common(10):
            print(f"  {title} {one_line(name)}: {number:,}")
    for hit in found.hits:
        row = hit.read(("id", "url", "text"))
        print()
        became = f"removed at {hit.step} by {hit.rule}" if hit.outlet == "removed" else f"kept at {hit.step}"
        print(one_line(f"{row.get('url') or row['id'].hex()} · {hit.source} · {became}"))
        print(f"  {one_line(excerpt(row.get('text') or '', words))}")
