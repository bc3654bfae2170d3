"""The recipes that come with the package: one for each published corpus, and those to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gristmill.errors import UsageError
from gristmill.filters.settings import nearest
from gristmill.pipeline.recipe.about import About
from gristmill.yaml12 import Yaml12Loader

FOLDER = Path(__file__).resolve().parent.parent / "recipes"


class Shipped(NamedTuple):
    """A recipe of the package and what it says of itself."""

    name: str
    path: Path
    about: About

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def data(self) -> dict[str, Any]:
        """The recipe as plain data."""
        loaded: dict[str, Any] = yaml.load(self.text, Yaml12Loader)  # a subclass of SafeLoader
        return loaded


def shipped() -> list[Shipped]:
    """Return every recipe of the package by name."""
    return [_open(path) for path in sorted(FOLDER.glob("*.yaml"))]


def shipped_recipe(name: str) -> Shipped:
    """Return one recipe of the package; raises UsageError with the nearest name where there is none."""
    known = {path.stem: path for path in FOLDER.glob("*.yaml")}
    plain = name.lower().removesuffix(".yaml")
    if plain not in known:
        raise UsageError(
            f"no recipe is called `{name}`{nearest(plain, sorted(known))}",
            hint=f"there are {', '.join(sorted(known))}",
        )
    return _open(known[plain])


def _open(path: Path) -> Shipped:
    data = yaml.load(path.read_text(encoding="utf-8"), Yaml12Loader)  # a subclass of SafeLoader
    return Shipped(path.stem, path, About.model_validate(data.get("about", {})))
