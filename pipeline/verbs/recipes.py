"""`recipes`, `recipes show`, `recipes copy`: the recipes that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options

GROUP = listing.RECIPES

Name = Annotated[
    str, typer.Argument(help="Of a recipe, such as fineweb or dolma-3.", metavar="NAME", show_default=False)
]


def register(app: typer.Typer) -> None:
    recipes = typer.Typer(help="Recipes of published corpora, to look at and to copy.")
    recipes.callback(invoke_without_command=True)(without_verb)
    recipes.command("list")(list_)
    recipes.command("show")(show)
    recipes.command("copy")(copy)
    app.add_typer(recipes, name="recipes")


def without_verb(context: typer.Context) -> None:
    """List recipes when nothing more is said."""
    if context.invoked_subcommand is None:
        list_()


def list_(json: options.Json = False) -> None:
    """List the recipes of the package: whose corpus, what was published of it, what it needs.

    Example: gristmill recipes list
    """
    import json as json_module

    from gristmill.pipeline.look.printing.terminal import Paper
    from gristmill.pipeline.recipe.shipped import shipped

    if json:
        print(json_module.dumps([{"name": own.name, **own.about.model_dump()} for own in shipped()]))
        return
    paper = Paper()
    for own in shipped():
        print(paper.paint(own.name, "bold"))
        for line in (own.about.summary, own.about.published and f"published: {own.about.published}"):
            for wrapped in paper.wrap(line) if line else ():
                print(wrapped)
        if own.about.needs:
            for wrapped in paper.wrap(f"needs: {', '.join(own.about.needs)}"):
                print(wrapped)


def show(name: Name) -> None:
    """Print a recipe of the package: every constant with its source.

    Example: gristmill recipes show fineweb | less
    """
    from gristmill.pipeline.recipe.shipped import shipped_recipe

    print(shipped_recipe(name).text, end="")


def copy(
    name: Name,
    to: Annotated[
        Path | None, typer.Argument(help="A file or folder; NAME.yaml here when unset.", show_default=False)
    ] = None,
) -> None:
    """Copy a recipe of the package, to change it and run it.

    Example: gristmill recipes copy fineweb my-fineweb.yaml
    """
    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.recipe.shipped import shipped_recipe

    own = shipped_recipe(name)
    path = Path(f"{own.name}.yaml") if to is None else to / f"{own.name}.yaml" if to.is_dir() else to
    if path.exists():
        raise UsageError(f"`{path}` exists", hint="name another file; nothing is overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, own.text.encode())
    print(path)
    for where, what in own.about.needs.items():
        print(f"  needs {where}: {what}")
