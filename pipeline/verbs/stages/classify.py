"""`classify`: quality classifiers, topics, and quality buckets of topics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options
from gristmill.pipeline.verbs.stages.cells import cells, quality, topics

Alpha = Annotated[
    str | None, typer.Option(help="Keep by Pareto with this alpha, or `fit`.", show_default=False)
]
Bound = Annotated[float | None, typer.Option(help="Keep what scores at least this.", show_default=False)]
Top = Annotated[float | None, typer.Option(help="Keep this share of the best.", show_default=False)]

GROUP = listing.STAGES


def register(app: typer.Typer) -> None:
    classify = typer.Typer(
        help="Train a quality classifier or score with one, find topics, rank documents by quality.",
        no_args_is_help=True,
    )
    for name, command in {"train": train, "score": score, "topics": topics, "quality": quality}.items():
        classify.command(name)(command)
    classify.command("cells")(cells)
    app.add_typer(classify, name="classify")


@options.running
def train(
    positives: Annotated[list[str], typer.Option(help="Curated inputs. Repeatable.", show_default=False)],
    negatives: Annotated[list[str], typer.Option(help="Crawled inputs. Repeatable.", show_default=False)],
    said: Options,
    alpha: Alpha = None,
    threshold: Bound = None,
    top: Top = None,
    by: Annotated[
        str | None,
        typer.Option(help="`language`: also a model for each language of both classes.", show_default=False),
    ] = None,
) -> None:
    """Train on curated against crawled text, and keep of the crawled what the rule keeps.

    Each input is a source of its own, named after its file or folder. What the classifier is worth is
    printed.

    Example: gristmill classify train --positives wiki --positives books --negatives crawl --out quality
    """
    from gristmill.pipeline.look.printing.measures import print_quality
    from gristmill.pipeline.verbs.invoke import named_recipe, source_names

    sources = source_names([*positives, *negatives])
    names = list(sources)
    sides = {"positives": names[: len(positives)], "negatives": names[len(positives) :]}
    classifier: dict[str, Any] = {"keep": keep} if (keep := _keep(alpha, threshold, top)) else {}
    if by is not None:
        classifier["by"] = by
    recipe = named_recipe(
        "classify", sources, {"classify": {**sides, "classifier": classifier}}, said.overrides
    )
    options.carry_out(recipe, said, "classify", print_quality)


@options.running
def score(
    model: Annotated[
        Path,
        typer.Argument(
            help="The output of `classify train`, a folder with model.bin, or any fastText model.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[str], typer.Argument(help="Files, globs or folders written by gristmill.", show_default=False)
    ],
    said: Options,
    alpha: Alpha = None,
    threshold: Bound = None,
    top: Top = None,
) -> None:
    """Score documents with a model and keep by a rule.

    Example: gristmill classify score dclm.bin crawl.parquet --top 0.1 --set classify.classifier.prepare=lines
    """
    from gristmill.pipeline.verbs.invoke import model_folder, plain_recipe

    classifier: dict[str, Any] = {"model": str(model_folder(model, "classify-train"))}
    if keep := _keep(alpha, threshold, top):
        classifier["keep"] = keep
    recipe = plain_recipe(
        "score", inputs, {"classify": {"apply_to": ["input"], "classifier": classifier}}, said.overrides
    )
    options.carry_out(recipe, said, "classify")


def _keep(alpha: str | None, threshold: float | None, top: float | None) -> dict[str, Any] | None:
    rules: list[dict[str, Any]] = []
    if alpha is not None:
        rules.append({"rule": "pareto", "alpha": alpha})
    if threshold is not None:
        rules.append({"rule": "threshold", "score": threshold})
    if top is not None:
        rules.append({"rule": "top_fraction", "fraction": top})
    if len(rules) > 1:
        raise UsageError("give one of --alpha, --threshold and --top")
    return rules[0] if rules else None
