"""`synthesize`: a model at a server writes new documents from those there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.STAGES
MADE = "synthetic"


def register(app: typer.Typer) -> None:
    app.command("synthesize")(synthesize)


@options.running
def synthesize(
    inputs: options.Inputs,
    said: Options,
    server: Annotated[
        str | None, typer.Option(help="Its address: http://localhost:8000/v1.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model, as the server calls it.", show_default=False)
    ] = None,
    template: Annotated[
        list[str],
        typer.Option("--template", help="cosmopedia, wrap-..., nemotron-...; repeatable."),
    ] = ["cosmopedia"],  # noqa: B006  # typer reads it, nobody writes it
    tokens: Annotated[
        str | None, typer.Option(help="Spend so many tokens at most: 2M.", show_default=False)
    ] = None,
    in_flight: Annotated[int, typer.Option(help="Requests at the same time.", min=1)] = 64,
) -> None:
    """Let a model at an OpenAI-compatible server write documents from documents: the stage `generate`.

    Not `generate`, which samples from a model that `train` made. A key comes by the environment variable
    OPENAI_API_KEY alone. A run that was stopped goes on, and asks nothing again that was answered.

    Example: gristmill synthesize docs --server http://localhost:8000/v1 --model qwen --template wrap-qa
    """
    from gristmill.errors import UsageError
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    if is_recipe(inputs):
        options.refuse_beside_recipe(model=model, server=server, tokens=tokens)
        recipe = load_recipe(Path(inputs[0]), said.overrides)
    else:
        if model is None:
            raise UsageError("no model is named", hint="`--model NAME`, as the server calls it")
        own: dict[str, Any] = {
            "templates": list(template),
            "server": {"model": model, "url": server, "in_flight": in_flight},
            "budget": {"tokens": tokens} if tokens else {},
        }
        recipe = plain_recipe("synthesize", inputs, {"generate": {MADE: own}}, said.overrides)
    options.carry_out(recipe, said, "generate")
