"""What verbs that compare recipes on targets share: their options, what these come to, and how an interrupted
one is resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gristmill.errors import Interrupted, UsageError
from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.invoke import Options, engine_settings

if TYPE_CHECKING:
    from gristmill.pipeline.proof.ablation import Asked
    from gristmill.pipeline.recipe.model import Recipe
    from gristmill.pipeline.run.settings import EngineSettings

Tokens = Annotated[
    str | None, typer.Option(help="Tokens a model; one pass of the recipe when unset.", show_default=False)
]
Train = Annotated[bool, typer.Option("--train/--no-train", help="Train models, or score proxies alone.")]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of targets, and of how to run."""

    targets: dict[str, list[str]]
    documents: int
    document_bytes: int
    at_once: int | None
    run: Options

    def asked(self, **own: Any) -> Asked:
        """What is to be measured: the targets, and what the verb itself was told besides."""
        from gristmill.pipeline.proof.ablation import Asked
        from gristmill.pipeline.proof.texts import Amount

        amount = Amount(self.documents, self.document_bytes)
        return Asked(self.targets, at_once=self.at_once, amount=amount, **own)

    def folder(self, recipe: Recipe, what: str) -> Path:
        return self.run.out or Path("out") / f"{recipe.name}-{what}"

    def engine(self, recipe: Recipe) -> EngineSettings:
        return engine_settings(recipe, self.run)


def _said(
    target: Annotated[
        list[str],
        typer.Option("--target", metavar="NAME=PATH", help="A set that is not trained on. Repeatable."),
    ] = [],  # noqa: B006  # typer reads it, nobody writes it
    documents: Annotated[int, typer.Option(help="Of a target at most.", min=2)] = 400,
    document_bytes: Annotated[int, typer.Option(help="Of each, from its beginning.", min=100)] = 4000,
    at_once: Annotated[
        int | None, typer.Option(help="Trainings at a time at most.", min=1, show_default=False)
    ] = None,
    out: options.OutOption = None,
    set_: options.Overrides = [],  # noqa: B006
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> Said:
    run = Options(out, engine, workers, address, quiet, json, tuple(set_))
    return Said(named_targets(target), documents, document_bytes, at_once, run)


comparing = options.taking(_said)  # a verb that compares recipes on targets gets these as `said`


def named_targets(said: Sequence[str]) -> dict[str, list[str]]:
    """Paths by the name of their target; raises UsageError for what is not NAME=PATH."""
    found: dict[str, list[str]] = {}
    for one in said:
        name, equals, path = one.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"`--target {one}` must have the form NAME=PATH")
        found.setdefault(name, []).append(path)
    return found


def tokens_of(said: str | None) -> int | None:
    if not said:
        return None
    tokens = int(number("--tokens", said))
    if not tokens:
        raise UsageError(f"`--tokens` must be 1 or more, got {said}")
    return tokens


def number(name: str, said: str) -> float:
    """A count as `8e9`, `8G`, `1_000`; raises UsageError for what is none or not above 0."""
    from gristmill.overrides import parse_number
    from gristmill.pipeline.proof.planning import check_positive

    try:
        value = float(said)
    except ValueError:
        parsed = parse_number(said)
        if parsed is None:
            raise UsageError(f"`{name}` must be a number such as 8e9 or 8G, got {said!r}") from None
        value = float(parsed)
    check_positive(name, value)
    return value


@contextmanager
def resumable() -> Iterator[None]:
    """Name the command that goes on, where a signal stops the work."""
    from gristmill.pipeline.run.called import command_line

    try:
        yield
    except Interrupted as stop:
        stop.hint = f"resume with: {command_line()}"
        raise
