"""What verbs that compare recipes on targets share: their options, and how an interrupted one is resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from gristmill.errors import Interrupted, UsageError

Targets = Annotated[
    list[str],
    typer.Option("--target", metavar="NAME=PATH", help="A set that is not trained on. Repeatable."),
]
Tokens = Annotated[
    str | None, typer.Option(help="Tokens a model; one pass of the recipe when unset.", show_default=False)
]
Documents = Annotated[int, typer.Option(help="Of a target at most.", min=2)]
DocumentBytes = Annotated[int, typer.Option(help="Of each, from its beginning.", min=100)]


def named_targets(said: Sequence[str]) -> dict[str, list[str]]:
    """Paths by the name of their target; raises UsageError for what is not NAME=PATH."""
    found: dict[str, list[str]] = {}
    for one in said:
        name, equals, path = one.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"`--target {one}` must have the form NAME=PATH")
        found.setdefault(name, []).append(path)
    return found


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
