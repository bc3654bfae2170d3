"""`analyze`: what documents are like before anything is removed, and what presets would keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.MEASURE


def register(app: typer.Typer) -> None:
    app.command("analyze")(analyze)


@options.running
def analyze(
    inputs: options.Inputs,
    said: Options,
    preset: Annotated[
        str, typer.Option(help="Presets to measure, such as gopher,redpajama-v2.")
    ] = "gopher,gopher-repetition,c4-code,fineweb",
    sample: Annotated[
        float | None,
        typer.Option(help="A share of documents, by hash; all when unset.", min=0, max=1, show_default=False),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(help="A folder for signals beside ids, in Dolma's layout.", show_default=False),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            help="A folder for each language's thresholds and stop words, for `filter.by_language`.",
            show_default=False,
        ),
    ] = None,
    tail: Annotated[
        float,
        typer.Option(help="The share of documents that each of these thresholds removes.", min=0, max=0.5),
    ] = 0.1,
) -> None:
    """Measure documents and remove none: what presets would keep, how rules go together, languages, lengths,
    domains, duplicates; the report shows every histogram.

    Example: gristmill analyze docs --preset gopher,fineweb --sample 0.1 --out out/analyze
    """
    import json as json_module

    from gristmill.pipeline.look import analysis
    from gristmill.pipeline.look.attributes import write_attributes
    from gristmill.pipeline.verbs.invoke import exit_code, output_folder, plain_recipe, run_recipe

    presets = [name.strip() for name in preset.split(",") if name.strip()]
    filters: dict[str, Any] = {"presets": presets, "annotate": True}
    if thresholds and "gopher" in presets:
        filters["set"] = {"gopher.languages": None}  # measured in every language, not in English alone
    stages: list[Any] = [] if sample is None else [{"filter": {"sample": sample}}]
    sections = {
        "filter": filters,
        "dedup": {"exact": {"mode": "mark"}},
        "stages": [*stages, "filter", "dedup"],
    }
    recipe = plain_recipe("analyze", inputs, sections, said.overrides)
    if said.dry_run:
        options.show_plan(recipe, said)
        raise typer.Exit
    result = run_recipe(recipe, said)
    out = output_folder(recipe, said.out)
    found = analysis.analyse(out)
    if said.json:
        print(json_module.dumps(analysis.as_json(found)))
    else:
        for line in analysis.tell(found):
            print(line)
    if attributes:
        print(f"{write_attributes(out, attributes):,} rows of attributes in {attributes}")
    if thresholds:
        from gristmill.pipeline.look.thresholds import MIN_DOCUMENTS, write_thresholds

        told = write_thresholds(out, thresholds, tail)
        written = [name for name, number in told.items() if name and number >= MIN_DOCUMENTS]
        few = sum(number for name, number in told.items() if name not in written)
        print(f"thresholds of {', '.join(written) or 'no language'} in {thresholds}")
        if few:
            print(
                f"none of {few:,} documents in no known language, or in one with fewer than {MIN_DOCUMENTS}"
            )
    raise typer.Exit(exit_code(recipe, result, out))
