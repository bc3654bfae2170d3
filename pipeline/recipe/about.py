"""What a recipe says of itself: whose corpus it makes, what was published of it, and what it needs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from gristmill.errors import InputError
from gristmill.pipeline.sources.listing import match_files

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe


class About(BaseModel):
    """Whose corpus a recipe makes, what was published of it, and what it needs; it decides no byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str = Field("", description="one line")
    source: str = Field("", description="where the original is described")
    published: str = Field("", description="what the original kept, stage by stage, as published")
    needs: dict[str, str] = Field(
        {},
        description=(
            "a path or glob that this recipe names: what has to lie there, and where its owner publishes it;"
            " relative ones are relative to the recipe"
        ),
    )


class Need(NamedTuple):
    """A file or glob that a recipe names, what it has to be, and whether something is there."""

    path: str
    what: str
    there: bool


def needs_of(recipe: Recipe) -> list[Need]:
    """Return what a recipe says it needs, of that which its settings still name."""
    if recipe.about is None:
        return []
    named = set(_strings(recipe.model_dump(mode="json", exclude={"about"})))
    return [
        Need(path, what, "://" in path or _is_there(path))
        for path, what in recipe.about.needs.items()
        if path in named
    ]


def _is_there(path: str) -> bool:
    return bool(match_files(path)) if glob.has_magic(path) else Path(path).exists()


def check_needs(recipe: Recipe) -> None:
    """Raise InputError where something that a recipe needs is not there: all of it at once."""
    missing = [need for need in needs_of(recipe) if not need.there]
    if not missing:
        return
    listed = "".join(f"\n  {need.path}: {need.what}" for need in missing)
    raise InputError(
        f"the recipe `{recipe.name}` needs what is not there:{listed}",
        where=recipe.place_of("about", "needs", missing[0].path),
        hint="put it there, name another path, or take away the setting that names it",
    )


def beside(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a recipe's plain data with the paths it says it needs below the recipe's folder."""
    about = data.get("about")
    if not isinstance(about, Mapping) or folder == Path():
        return dict(data)
    needs = about.get("needs")
    if not isinstance(needs, Mapping):
        return dict(data)
    moved = {
        path: os.path.join(folder, path)  # noqa: PTH118  a Path would take the second slash out of a URL
        for path in needs
        if isinstance(path, str) and "://" not in path
    }

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {moved.get(key, key): walk(below) for key, below in value.items()}
        if isinstance(value, list):
            return [walk(below) for below in value]
        return moved.get(value, value) if isinstance(value, str) else value

    renamed = {moved.get(path, path): what for path, what in needs.items()}
    return {**walk(data), "about": {**about, "needs": renamed}}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield key
            yield from _strings(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _strings(below)
