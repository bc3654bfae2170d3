"""`scaling`: fit laws to a ladder of runs, predict the next size, plan a budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristmill.errors import UsageError
from gristmill.files.location import location
from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.listing import MEASURE
from gristmill.pipeline.verbs.proof import measured
from gristmill.pipeline.verbs.proof.measured import number

if TYPE_CHECKING:
    from gristmill.pipeline.proof.fitted import SourceFit
    from gristmill.pipeline.proof.laws import Law
    from gristmill.pipeline.proof.planning import Choice

Rows = Annotated[
    Path,
    typer.Argument(
        help="Runs as CSV or JSON lines: two of N, D, C, and losses; a ladder's output folder too.",
        show_default=False,
    ),
]
_LAW = "epoch, hoffmann, or the file of `scaling fit --out`."

GROUP = MEASURE


def register(app: typer.Typer) -> None:
    scaling = typer.Typer(
        help="Scaling laws: fit a ladder, predict a size, plan a budget.", no_args_is_help=True
    )
    scaling.command("ladder")(ladder)
    scaling.command("fit")(fit)
    scaling.command("predict")(predict)
    scaling.command("plan")(plan)
    app.add_typer(scaling, name="scaling")


@measured.comparing
def ladder(
    recipe: options.Recipe,
    widths: Annotated[str, typer.Option(help="Widths, multiples of 32.")] = "64,96,128,192",
    tokens: Annotated[str, typer.Option(help="Of the shortest branch.")] = "100k",
    multiples: Annotated[str, typer.Option(help="Branches, in multiples of these tokens.")] = "1,2,4",
    hold_back: Annotated[
        bool, typer.Option("--hold-back", help="Predict the largest size's rows from the others'.")
    ] = False,
    *,
    said: measured.Said,
) -> None:
    """Train sizes x tokens from one recipe, a trunk a size with branches, and write ladder.csv.

    Example: gristmill scaling ladder recipe.yaml --widths 64,128,256 --target wiki=wiki.jsonl
    """
    import json as json_module

    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.proof.ladder import climb
    from gristmill.pipeline.proof.laws_told import tell_held_back
    from gristmill.pipeline.proof.rows import write_rows
    from gristmill.pipeline.proof.variants import read_variants

    (variant,) = read_variants(recipe, said.run.overrides)
    folder, settings = said.folder(variant.recipe, "ladder"), said.engine(variant.recipe)
    sizes, branches = _whole("--widths", widths), _whole("--multiples", multiples)
    shortest = int(number("--tokens", tokens))
    if hold_back and (len(set(sizes)) < 4 or len(branches) < 3):
        raise UsageError(
            f"`--hold-back` fits a law to all sizes but the largest: it needs 4 widths and 3 multiples, got"
            f" {len(set(sizes))} and {len(branches)}"
        )
    with measured.resumable():
        found = climb(variant, said.asked(), sizes, shortest, branches, folder, settings, said.run.progress())
    path = folder / "ladder.csv"
    write_atomic(path, write_rows(found))
    if said.run.json:
        print(json_module.dumps(found))
    else:
        print(f"{len(found)} rows in {path}; fit them with `gristmill scaling fit {path}`")
    for line in tell_held_back(path) if hold_back else ():
        print(line)


def _whole(name: str, said: str) -> list[int]:
    try:
        return [int(part) for part in said.split(",")]
    except ValueError:
        raise UsageError(f"`{name}` must be whole numbers such as 1,2,4, got {said!r}") from None


def fit(
    rows: Rows,
    out: Annotated[Path | None, typer.Option(help="Write the fit for `predict`.", show_default=False)] = None,
    n: Annotated[str | None, typer.Option(help="The column of N.", show_default=False)] = None,
    d: Annotated[str | None, typer.Option(help="The column of D.", show_default=False)] = None,
    c: Annotated[str | None, typer.Option(help="The column of C.", show_default=False)] = None,
    loss: Annotated[list[str], typer.Option(help="A column of losses. Repeatable.")] = [],  # noqa: B006
    run: Annotated[str, typer.Option(help="The column that says which rows are of one run.")] = "run",
    drop_lowest: Annotated[
        int, typer.Option(help="Leave out so many rows of fewest tokens per parameter.", min=0)
    ] = 0,
    draws: Annotated[int, typer.Option(help="Bootstrap draws for the intervals.", min=0)] = 500,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    json: options.Json = False,
) -> None:
    """Fit Kaplan's and Chinchilla's laws to runs, with bootstrap intervals and residuals.

    Example: gristmill scaling fit ladder.csv --out fit.json
    """
    import json as json_module

    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.proof.fitted import as_json, encode, fit_rows
    from gristmill.pipeline.proof.laws_told import tell_fit
    from gristmill.pipeline.proof.rows import COUNTS, Columns, read_rows

    path = rows / "ladder.csv" if rows.is_dir() else rows
    columns = Columns(n, d, c, tuple(loss), run)
    table = read_rows(path, columns).without_least_repeated(drop_lowest)
    fits = fit_rows(table, draws, seed)
    if out:
        write_atomic(out, encode(fits))
    if json:
        print(json_module.dumps(as_json(fits)))
        return
    for line in tell_fit(fits):
        print(line)
    for count in COUNTS if n is None else ():
        if count != "N" and count in _heads(path):
            other = read_rows(path, Columns(count, d, c, tuple(loss), run)).without_least_repeated(
                drop_lowest
            )
            exponents = {name: one.law.exponents[0] for name, one in fit_rows(other, 0).fits.items()}
            shown = ", ".join(f"{name} {value:.3f}" for name, value in exponents.items())
            print(f"with {count} for N: a {shown}")


def predict(
    fitted: Annotated[
        Path, typer.Argument(metavar="FIT", help="The file of `scaling fit --out`.", show_default=False)
    ],
    n: Annotated[str, typer.Option(help="Parameters: 8e9, 8G.", show_default=False)],
    d: Annotated[
        str | None, typer.Option(help="Tokens; 20 per parameter when unset.", show_default=False)
    ] = None,
    level: Annotated[float, typer.Option(help="Of the interval.", min=0.5, max=0.999)] = 0.95,
    json: options.Json = False,
) -> None:
    """Predict every source's loss at a size, with its interval; say where that lies beyond the ladder.

    Example: gristmill scaling predict fit.json --n 1e9 --d 20e9
    """
    import json as json_module
    from dataclasses import asdict

    from gristmill.pipeline.proof.fitted import read_fit
    from gristmill.pipeline.proof.laws_told import tell_predictions, tell_without
    from gristmill.pipeline.proof.planning import TOKENS_PER_PARAMETER

    size = number("--n", n)
    tokens = number("--d", d) if d else TOKENS_PER_PARAMETER * size
    fitted_to = read_fit(fitted)
    found = [one.predict(source, size, tokens, level) for source, one in fitted_to.fits.items()]
    if json:
        print(json_module.dumps([asdict(one) for one in found]))
        for line in tell_without(fitted_to.without):
            print(line, file=sys.stderr)
        return
    for line in tell_predictions(found, size, tokens, level):
        print(line)
    for line in tell_without(fitted_to.without):
        print(line)


def plan(
    flops: Annotated[str | None, typer.Option(help="A training budget: 1e21.", show_default=False)] = None,
    law: Annotated[str, typer.Option("--law", help=_LAW)] = "epoch",
    source: Annotated[str | None, typer.Option(help="Of a fit of several.", show_default=False)] = None,
    served: Annotated[
        str | None, typer.Option(help="Tokens that will be served: the cheapest in all.", show_default=False)
    ] = None,
    unique: Annotated[
        str | None, typer.Option(help="Distinct tokens there are: epochs are priced.", show_default=False)
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            parser=location, metavar="OUT", help="A run whose mixture says that.", show_default=False
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Print the compute-optimal and inference-optimal size and tokens for a budget, and the field's table.

    Example: gristmill scaling plan --flops 1e21 --served 2e12 --unique 10e9
    """
    import json as json_module
    from dataclasses import asdict

    from gristmill.pipeline.proof.laws_told import llama_case, tell_plan, tell_table

    named, own = _law(law, source)
    choices, notes = _choices(
        named, flops, number("--served", served) if served else None, _unique(unique, corpus)
    )
    if own:
        notes += [
            f"{name}: extrapolated: {said}" for name, one in choices for said in own.beyond(one.n, one.d)
        ]
    if json:
        facts = {
            "law": asdict(named),
            "choices": {name: asdict(one) for name, one in choices},
            "notes": notes,
        }
        print(json_module.dumps(facts))
        return
    for line in tell_plan(named, law, choices, notes) if choices else ():
        print(line)
    if choices:
        print()
    for line in tell_table(named):
        print(line)
    print()
    print(llama_case(named))
    if own:
        last = f"N {own.spans['N'][1]:.3g} and D {own.spans['D'][1]:.3g}"
        print(f"the fit's rows end at {last}: beyond, it is a guess")


def _choices(
    law: Law, flops: str | None, served: float | None, unique: float | None
) -> tuple[list[tuple[str, Choice]], list[str]]:
    from gristmill.pipeline.look.printing.figures import short
    from gristmill.pipeline.proof import planning

    if flops is None:
        if served or unique:
            raise UsageError("`--served`, `--unique` and `--corpus` need a budget", hint="say `--flops 1e21`")
        return [], []
    budget = number("--flops", flops)
    best = planning.compute_optimal(law, budget)
    choices, notes = [("new tokens", best)], []
    if unique:
        limited = planning.with_unique_tokens(law, budget, unique)
        choices.append((f"{short(unique)} unique", limited))
        alike = planning.equal_compute(law, limited.loss)
        notes.append(
            f"{limited.epochs:.2f} epochs over {short(unique)} tokens cost {limited.loss - best.loss:.4f} of"
            f" loss: as much as {1 - alike / budget:.0%} of the budget with new tokens"
        )
        if limited.epochs > 4:
            notes.append("beyond about 4 epochs repeating is worth less and less (Muennighoff et al. 2023)")
    if served:
        whole = planning.inference_optimal(law, best.loss, served)
        choices.append((f"{short(served)} served", whole))
        costs = [6 * one.n * one.d + 2 * one.n * served for one in (best, whole)]
        notes.append(
            f"trained and served, that is {costs[1]:.3g} FLOPs against {costs[0]:.3g}:"
            f" {1 - costs[1] / costs[0]:.0%} less at the same loss"
        )
    return choices, notes


def _law(named: str, source: str | None) -> tuple[Law, SourceFit | None]:
    """A law by its name, or by a file and then with the fit that says how far it reaches."""
    from gristmill.pipeline.proof.fitted import read_fit
    from gristmill.pipeline.proof.laws_told import LAWS

    if named in LAWS:
        return LAWS[named], None
    fits = read_fit(Path(named)).fits
    if source is None and len(fits) > 1 and "all" not in fits:
        raise UsageError(f"the fit is of {', '.join(fits)}", hint="choose one with `--source`")
    chosen = source or ("all" if "all" in fits else next(iter(fits)))
    if chosen not in fits:
        raise UsageError(f"`--source {chosen}`: the fit is of {', '.join(fits)}")
    return fits[chosen].law, fits[chosen]


def _unique(unique: str | None, corpus: Path | None) -> float | None:
    """The distinct tokens that were named, or that a run's mixture draws on."""
    if corpus is None:
        return number("--unique", unique) if unique else None
    if unique:
        raise UsageError("`--unique` and `--corpus` both say how many tokens there are: choose one")
    from gristmill.pipeline.run.folder import finished_steps
    from gristmill.pipeline.stages.mix import MixFacts

    steps = finished_steps(corpus)
    if "mix" not in steps:
        raise UsageError(f"`{corpus}` holds no finished step `mix`", hint="run its recipe down to `mix`")
    return float(sum(steps["mix"].stated(MixFacts).sizes.values()))


def _heads(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [head.strip() for head in file.readline().split(",")]
