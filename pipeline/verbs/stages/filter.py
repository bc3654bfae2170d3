"""`filter`, `recut` and `url-list`: keep what passes, decide anew, compile blocklists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gristmill.files.location import location
from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

if TYPE_CHECKING:
    from gristmill.filters.settings import FilterSettings

GROUP = listing.STAGES


def register(app: typer.Typer) -> None:
    app.command("filter")(filter_)
    app.command("recut")(recut)
    app.command("url-list", rich_help_panel=listing.STAGES)(url_list)


@options.running
def filter_(
    inputs: options.Inputs,
    said: Options,
    preset: Annotated[
        str | None, typer.Option(help="Presets in order, such as gopher,c4-code.", show_default=False)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Languages to keep, such as en,de.", show_default=False)
    ] = None,
) -> None:
    """Keep documents that pass published rules; a bound is set as `--set gopher.words.min=20`.

    Example: gristmill filter docs --preset gopher,c4-code --out kept
    """
    from gristmill.errors import UsageError
    from gristmill.filters.settings import FilterSettings
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    if is_recipe(inputs):
        options.refuse_beside_recipe(preset=preset, language=language)
        recipe = load_recipe(Path(inputs[0]), said.overrides)
    else:
        section: dict[str, Any] = {"presets": _names(preset or "")}
        if language:
            section["language"] = {"keep": _names(language)}
        recipe = plain_recipe("filter", inputs, {"filter": section}, said.overrides)
        filters = recipe.section(FilterSettings)
        if filters is None or not filters.names:
            raise UsageError(
                "no filter is named",
                hint="say which by `--preset gopher,c4-code`, `--language en` or `--set filter.…`",
            )
    options.carry_out(recipe, said, "filter")


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def recut(
    run: options.Out,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=location,
            metavar="PATH",
            help="Where the documents of the new decisions go.",
            show_default=False,
        ),
    ],
    set_: options.Overrides = [],  # noqa: B006
    partial: Annotated[
        bool, typer.Option("--partial", help="Of a run whose steps lost tasks, what is there.")
    ] = False,
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Decide a run's filters anew with other bounds, from stored signals: no text is measured again.

    Of a run that filters several times, the steps that have what is changed are decided anew, all where
    nothing is.

    Example: gristmill recut out/web --set gopher.mean_word_length.max=12 --out out/longer
    """
    from gristmill.pipeline.look.printing.tables import print_run
    from gristmill.pipeline.phases.recut import filters_of, recut_plan
    from gristmill.pipeline.run.narration.progress import Progress
    from gristmill.pipeline.run.runner import run_plan
    from gristmill.pipeline.run.settings import EngineSettings

    every = [piece.filter for piece in filters_of(run).values()]
    # What no step has is laid on each, which says so.
    nowhere = [change for change in set_ if not any(_has(settings, change) for settings in every)]

    def changed(settings: FilterSettings) -> FilterSettings | None:
        own = [change for change in set_ if change in nowhere or _has(settings, change)]
        return _changed(settings, own) if own or not set_ else None

    plan = recut_plan(run, changed, partial=partial)
    said = {"kind": engine, "workers": workers}
    chosen = EngineSettings.model_validate({name: value for name, value in said.items() if value is not None})
    run_plan(plan, out, chosen, Progress(quiet=quiet))
    print_run(out, as_json=json)


def _has(settings: FilterSettings, override: str) -> bool:
    """Whether filters have the preset or section that an override changes."""
    key = override.partition("=")[0].removeprefix("filter.").removeprefix("set.")
    owner, dot, _ = key.partition(".")
    if owner in settings.presets:
        return True
    return owner in type(settings).model_fields and (not dot or getattr(settings, owner) is not None)


def _changed(settings: FilterSettings, overrides: list[str]) -> FilterSettings:
    """Apply `preset.rule.side=bound`, also spelled with `filter.set.` as in a recipe, or
    `filter.field=value`."""
    from pydantic import ValidationError

    from gristmill.errors import UsageError
    from gristmill.filters.settings import FilterSettings
    from gristmill.overrides import parse_value

    body = settings.model_dump(mode="json")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(
                f"`--set {override}` must be KEY=VALUE", hint="such as gopher.mean_word_length.max=12"
            )
        key = key.removeprefix("filter.")
        owner, _, field = key.partition(".")
        value = parse_value(text, f"--set {override}")
        if isinstance(body.get(owner), dict) and owner != "set":
            body[owner][field] = value
        elif key in body and key != "set":  # such as `annotate=false`
            body[key] = value
        else:
            body["set"][key.removeprefix("set.")] = value
    try:
        return FilterSettings.model_validate(body)
    except ValidationError as error:
        raise UsageError(
            "; ".join(part["msg"].removeprefix("Value error, ") for part in error.errors())
        ) from None


def url_list(
    text: Annotated[Path, typer.Argument(help="A list, one entry a line.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The compiled list, NAME.u64.", show_default=False)],
    kind: Annotated[str, typer.Option(help="domains or urls.")] = "domains",
) -> None:
    """Compile a blocklist of millions of domains or URLs into a file that workers map instead of reading.

    Example: gristmill url-list adult.txt --out adult.u64
    """
    from gristmill.errors import UsageError
    from gristmill.filters.sources import build_list

    if kind not in ("domains", "urls") or out.suffix != ".u64":
        raise UsageError(
            "`url-list` compiles `--kind domains` or `--kind urls` into a file that ends in .u64"
        )
    print(f"{build_list(kind, text, out):,} {kind} in {out}")
