"""`dedup`, `dedup-eval`, `decontaminate-eval`: remove duplicates, and measure what is found."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.STAGES


def register(app: typer.Typer) -> None:
    app.command("dedup")(dedup)
    app.command("dedup-index")(dedup_index)
    app.command("dedup-eval", rich_help_panel=listing.MEASURE)(dedup_eval)
    app.command("decontaminate-eval", rich_help_panel=listing.MEASURE)(decontaminate_eval)


@options.running
def dedup(
    inputs: options.Inputs,
    said: Options,
    stages: Annotated[
        str | None,
        typer.Option(
            help=(
                "Of url, exact, fuzzy, semantic, lines, paragraphs, spans, substring, passages; run in this"
                " order."
                " exact,fuzzy when unset."
            ),
            show_default=False,
        ),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="drop, or mark to keep all with their clusters.", show_default=False)
    ] = None,
    survivor: Annotated[
        str | None, typer.Option(help="longest, newest, oldest, id or best:COLUMN.", show_default=False)
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="Compare within all, source or a column.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least verified similarity; 0.8 when unset.", show_default=False)
    ] = None,
    index: Annotated[bool, typer.Option("--index", help="Write an index for later runs.")] = False,
    against: Annotated[
        list[str], typer.Option(help="A folder with an index. Repeatable.", show_default=False)
    ] = [],  # noqa: B006
    report: Annotated[
        bool, typer.Option("--report", help="Tell what of the indexes each document duplicates or is near.")
    ] = False,
    decontaminate: Annotated[
        list[str], typer.Option(help="A benchmark in JSON lines. Repeatable.", show_default=False)
    ] = [],  # noqa: B006
) -> None:
    """Remove or mark duplicates: the steps of a recipe up to deduplication, or files of documents as they
    are.

    Example: gristmill dedup docs --out unique --survivor newest
    """
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    if is_recipe(inputs):
        options.refuse_beside_recipe(
            stages=stages,
            mode=mode,
            survivor=survivor,
            scope=scope,
            threshold=threshold,
            index=index,
            against=against,
            report=report,
            decontaminate=decontaminate,
        )
        recipe = load_recipe(Path(inputs[0]), said.overrides)
    else:
        documents = _given(mode=mode, survivor=survivor, scope=scope)
        fuzzy = {
            **documents,
            **_given(
                threshold=threshold, index=index or None, against=list(against) or None, report=report or None
            ),
        }
        section = _sections(stages or "exact,fuzzy", documents, fuzzy, scope)
        if report and not against:
            raise UsageError("`--report` tells of indexes", hint="name one with `--against`")
        if (index or against) and "fuzzy" not in section:
            raise UsageError(
                "`--index` and `--against` are of near duplicates", hint="add `fuzzy` to `--stages`"
            )
        if decontaminate:
            section["decontaminate"] = {"benchmarks": list(decontaminate)}
        recipe = plain_recipe("dedup", inputs, {"dedup": section}, said.overrides)
    options.carry_out(recipe, said, "dedup")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _sections(
    stages: str, documents: dict[str, Any], fuzzy: dict[str, Any], scope: str | None
) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = {
        "url": documents,
        "exact": documents,
        "fuzzy": fuzzy,
        "semantic": documents,
        **{name: _given(scope=scope) for name in ("lines", "paragraphs", "spans")},
        "substring": {},
        "passages": _given(scope=scope),
    }
    asked = [name.strip() for name in stages.split(",") if name.strip()]
    for name in asked:
        if name not in known:
            raise UsageError(f"`--stages` has no stage `{name}`", hint=f"choose of {', '.join(known)}")
    return {name: section for name, section in known.items() if name in asked}


def dedup_index(
    out: Annotated[str, typer.Argument(help="A folder with an index.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    corpus: Annotated[
        str | None,
        typer.Option(help="What reports call it; the folder's name when unset.", show_default=False),
    ] = None,
) -> None:
    """Copy an index without the texts: band keys, hashed shingles, ids, URLs and sources.

    Example: gristmill dedup-index out published --corpus web-2026
    """
    from gristmill.pipeline.phases.dedup.index import publish_index

    if target.exists() and any(target.iterdir()):
        raise UsageError(f"`{target}` is not empty", hint="name a new folder")
    print(f"{publish_index(out, target, corpus):,} bytes written; compare with `--against {target}`")


def dedup_eval(
    pairs: Annotated[
        Path,
        typer.Argument(help='JSON lines of {"a": text, "b": text, "duplicate": true}.', show_default=False),
    ],
    set_: options.Overrides = [],  # noqa: B006
    sample: Annotated[
        int, typer.Option(help="Texts of the pairs to compare all with all; 0: none.", min=0)
    ] = 2000,
    json: options.Json = False,
) -> None:
    """Measure precision and recall on labelled pairs, and recall against brute force on a sample of their
    texts.

    Example: gristmill dedup-eval pairs.jsonl --set threshold=0.7
    """
    from gristmill.dedup.evaluate import against_brute_force, evaluate_pairs, read_texts
    from gristmill.dedup.settings.near import FuzzySettings
    from gristmill.pipeline.recipe.file import validate

    settings = validate({}, FuzzySettings, set_)
    result = evaluate_pairs(settings, pairs)
    if sample:
        result["brute_force"] = against_brute_force(settings, read_texts(pairs, sample))
    if json:
        print(json_module.dumps(result))
        return
    print(f"{result['pairs']:,} pairs, {result['duplicates']:,} labelled duplicates")
    for name in ("candidates", "verified", "score alone"):
        print(
            f"{name:<12}  precision {_percent(result[name]['precision'])}  recall"
            f" {_percent(result[name]['recall'])}"
        )
    if sample:
        force = result["brute_force"]
        print(
            f"brute force over {force['documents']:,} texts: {force['pairs']:,} pairs at {settings.threshold}"
            f" or above, recall {_percent(force['recall'])}, {_percent(force['expected_recall'])} expected"
        )


def _percent(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.1%}"


def decontaminate_eval(
    benchmarks: Annotated[list[str], typer.Argument(help="Benchmarks in JSON lines.", show_default=False)],
    documents: Annotated[
        Path | None,
        typer.Option(help='Clean documents, JSON lines of {"text": ...}, to plant into.', show_default=False),
    ] = None,
    set_: options.Overrides = [],  # noqa: B006
    sample: Annotated[int, typer.Option(help="Items to plant.", min=1)] = 500,
    json: options.Json = False,
) -> None:
    """Plant benchmark items into documents, verbatim and changed, and measure which are found.

    Example: gristmill decontaminate-eval quiz.jsonl --documents web.jsonl --set ngram=8
    """
    from gristmill.dedup.evaluate import read_documents
    from gristmill.dedup.leaks import evaluate_leaks
    from gristmill.dedup.settings.against import DecontaminateSettings
    from gristmill.pipeline.recipe.file import validate

    settings = validate({"benchmarks": list(benchmarks)}, DecontaminateSettings, set_)
    result = evaluate_leaks(settings, read_documents(documents) if documents else [], sample)
    if json:
        print(json_module.dumps(result))
        return
    print(f"{result['items']:,} items planted, {result['documents']:,} documents as they are")
    for kind, rate in result["found"].items():
        print(f"{kind:<28}{_percent(rate)} found")
