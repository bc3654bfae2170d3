"""Options that many verbs share, spelled once, and what a verb that runs steps does with them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gristmill.errors import UsageError
from gristmill.files.location import location
from gristmill.pipeline.verbs.invoke import PLAIN_SOURCE, Options, is_recipe

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe as LoadedRecipe

Recipe = Annotated[Path, typer.Argument(help="A recipe in YAML.", show_default=False)]
Inputs = Annotated[
    list[str],
    typer.Argument(
        help="A recipe (.yaml), or files, globs or folders written by gristmill.", show_default=False
    ),
]
Out = Annotated[
    Path,
    typer.Argument(
        parser=location, metavar="OUT", help="The output folder of a run, or its URL.", show_default=False
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=location,
        metavar="PATH",
        help="Where results go, a folder or URL; `out/NAME` when unset.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Override a recipe value: a.b=c. Repeatable.", metavar="KEY=VALUE")
]
EngineKind = Annotated[str | None, typer.Option("--engine", help="inline, ray or auto.", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="CPUs to use; all of them when unset.", min=1, show_default=False),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="A running Ray cluster; RAY_ADDRESS when unset.", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


InputsFrom = Annotated[
    list[str],
    typer.Option(
        "--inputs-from", help="A file of inputs, one a line (also .gz). Repeatable.", metavar="FILE"
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="Put before relative lines of `--inputs-from`.", show_default=False),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="The layout of a corpus: fineweb, dolma, c4, ..., or a YAML file.",
        show_default=False,
    ),
]

TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text", metavar="COLUMN", help="The column of plain files with the text.", show_default=False
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be run, as `plan` does; nothing is written.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Name every shard that is done.")]
LogLevel = Annotated[
    str, typer.Option("--log-level", help="What goes into OUT/run.log: debug, info, warning or error.")
]


def _said(
    out: OutOption = None,
    set_: Overrides = [],  # noqa: B006  # typer reads it, nobody writes it
    engine: EngineKind = None,
    workers: Workers = None,
    address: Address = None,
    quiet: Quiet = False,
    json: Json = False,
    inputs_from: InputsFrom = [],  # noqa: B006
    prefix: Prefix = None,
    columns: ColumnsOption = None,
    text: TextColumn = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    log_level: LogLevel = "info",
) -> Options:
    layout = "columns.layout" if text else "columns"  # a layout by name, with one change
    facts = {layout: columns, "prefix": prefix, "columns.text": text}
    of_source = [f"{PLAIN_SOURCE}.{name}={value}" for name, value in facts.items() if value is not None]
    return Options(
        out, engine, workers, address, quiet, json, (*of_source, *set_), dry_run, verbose, log_level
    )


def running(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb that runs steps the options that all of them take; it gets them as its argument `said`."""

    def check(given: dict[str, Any], own: dict[str, Any]) -> None:
        if "recipe" in own or is_recipe(own.get("inputs", ())):
            refuse_beside_recipe(**{name: given[name] for name in _OF_PLAIN_FILES})
        if "inputs" in own:
            own["inputs"] = [*own["inputs"], *(f"@{name}" for name in given["inputs_from"])]

    command = taking(_said, check)(verb)
    # Inputs may come by `--inputs-from` alone.
    parameters = inspect.signature(command).parameters.values()
    changed = [item.replace(default=[]) if item.name == "inputs" else item for item in parameters]
    command.__signature__ = inspect.Signature(changed)  # type: ignore[attr-defined]
    return command


def taking(
    spell: Callable[..., Any],
    check: Callable[[dict[str, Any], dict[str, Any]], None] = lambda given, own: None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a verb the options of the function `spell`, after its own; the verb gets
    what `spell` makes of them as its argument `said`.

    `check` sees the values of both, before; it may change them.
    """
    shared = inspect.signature(spell, eval_str=True).parameters

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = [
            item for name, item in inspect.signature(verb, eval_str=True).parameters.items() if name != "said"
        ]

        @functools.wraps(verb)
        def command(**values: Any) -> None:
            given = {name: values.pop(name) for name in shared}
            check(given, values)
            verb(**values, said=spell(**given))

        parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in (*own, *shared.values())]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        return command

    return decorate


_OF_PLAIN_FILES = ("inputs_from", "prefix", "columns", "text")


def refuse_beside_recipe(**values: Any) -> None:
    """Raise UsageError for options of plain files that were given with a recipe, which says the same
    itself."""
    given = [f"--{name}" for name, value in values.items() if value]
    if given:
        given[0] = given[0].replace("_", "-")
        raise UsageError(
            f"`{given[0]}` is for plain files, and a recipe was given",
            hint="change a recipe's value with `--set a.b=c`",
        )


def carry_out(
    recipe: LoadedRecipe, said: Options, until: str | None = None, show: Callable[[Path], None] | None = None
) -> NoReturn:
    """Run a recipe's steps up to a stage, print the funnel and what else there is to show, and leave with the
    run's exit code."""
    from gristmill.pipeline.look.printing.tables import print_run
    from gristmill.pipeline.verbs.invoke import exit_code, output_folder, run_recipe

    if said.dry_run:
        show_plan(recipe, said, until)
        raise typer.Exit
    result = run_recipe(recipe, said, until=until)
    out = output_folder(recipe, said.out)
    print_run(out, as_json=said.json)
    if show and not said.json:
        show(out)
    raise typer.Exit(exit_code(recipe, result, out))


def show_plan(recipe: LoadedRecipe, said: Options, until: str | None = None) -> None:
    """Print what a recipe needs, and for every step, all or up to one stage, whether it is done, stale or to
    run."""
    from gristmill.pipeline.look.printing.tables import print_needs, print_states
    from gristmill.pipeline.recipe.about import needs_of
    from gristmill.pipeline.recipe.plan import build_plan
    from gristmill.pipeline.run.runner import states
    from gristmill.pipeline.verbs.invoke import output_folder

    if not said.json:
        print_needs(needs_of(recipe))
    print_states(states(build_plan(recipe, until), output_folder(recipe, said.out)), as_json=said.json)
