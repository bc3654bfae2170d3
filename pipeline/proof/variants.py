"""Variants of a recipe, as they are said on a command line.

--vary "filter.presets=[gopher]"                 one variant, named by what it changes
--vary "strict: filter.presets=[gopher]; dedup.exact=off"   several changes, and a name
--without dedup.fuzzy                            a section taken away
--without filter.presets.gopher                  an entry taken out of a list
--grid "mix.proportions.web=[0.5, 0.8]"          one for each value; several grids multiply
--with other.yaml                                a recipe of its own
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.overrides import split
from gristmill.pipeline.recipe.file import read_recipe
from gristmill.pipeline.recipe.model import Recipe
from gristmill.tokenize.settings import MixSettings, TokenizerSettings

REFERENCE = "recipe"
PLACEBO = "placebo"
_NAME = re.compile(r"\s*([A-Za-z0-9][\w .+-]*):\s+(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variant:
    """A recipe under a name, and what it changes, in words. A placebo is the recipe with other seeds."""

    name: str
    recipe: Recipe
    changes: str
    is_placebo: bool = False


def read_variants(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    vary: Sequence[str] = (),
    without: Sequence[str] = (),
    grid: Sequence[str] = (),
    files: Sequence[Path] = (),
    placebo: bool = False,
) -> list[Variant]:
    """Return the recipe itself, which all are compared with, and its variants, in the order they were said.

    Raises UsageError for what is no variant and for a name that is taken twice, RecipeError for a change that
    a recipe cannot have.
    """
    reference = read_recipe(path, overrides)
    overrides = [*overrides, *_defaults(reference)]
    reference = read_recipe(path, overrides)
    found = [Variant(REFERENCE, reference, "the recipe as it is")]
    for said in vary:
        name, changes = _named(said)
        found.append(_variant(path, overrides, name, changes))
    for said in without:
        found.append(_variant(path, overrides, f"without {said}", [_taken_away(reference, said)]))
    found += [_variant(path, overrides, ", ".join(changes), changes) for changes in _grids(grid)]
    found += [Variant(file.stem, read_recipe(file, overrides), str(file)) for file in files]
    if placebo:
        found.append(Variant(PLACEBO, reference, "the recipe again, with other seeds", is_placebo=True))
    names = [variant.name for variant in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"two variants are named `{twice}`", hint="name one: --vary 'NAME: key=value'")
    return found


def _defaults(recipe: Recipe) -> list[str]:
    """What an ablation needs and a recipe of text alone does not say."""
    made = []
    if recipe.section(TokenizerSettings) is None:
        made.append("tokenizer={vocab_size: 8192}")
    if recipe.section(MixSettings) is None:
        made.append("mix={heldout_fraction: 0.02}")
    return made


def _variant(path: Path, overrides: Sequence[str], name: str, changes: Sequence[str]) -> Variant:
    return Variant(name, read_recipe(path, [*overrides, *changes]), "; ".join(changes))


def _named(said: str) -> tuple[str, list[str]]:
    named = _NAME.fullmatch(said)
    name, rest = (named[1].strip(), named[2]) if named and "=" not in named[1] else ("", said)
    changes = [part.strip() for part in rest.split(";") if part.strip()]
    for change in changes:
        split(change, name="--vary")
    if not changes:
        raise UsageError(f"`--vary {said}` changes nothing", hint="say `--vary key=value`")
    return name or ", ".join(changes), changes


def _grids(grids: Sequence[str]) -> Iterator[list[str]]:
    if not grids:
        return
    axes = []
    for said in grids:
        location, values = split(said, name="--grid")
        if not isinstance(values, list) or not values:
            raise UsageError(f"`--grid {said}` needs a list of values", hint="say `--grid 'key=[1, 2]'`")
        key = ".".join(map(str, location))
        axes.append([f"{key}={json.dumps(value)}" for value in values])
    yield from map(list, itertools.product(*axes))


def _taken_away(recipe: Recipe, said: str) -> str:
    """The override that takes a section away, or an entry out of a list."""
    *above, last = said.split(".")
    data: Any = recipe.model_dump(mode="json")
    for part in above:
        data = data.get(part) if isinstance(data, Mapping) else None
    if isinstance(data, list):
        if last not in data:
            raise UsageError(f"`--without {said}`: `{'.'.join(above)}` holds {', '.join(map(str, data))}")
        return f"{'.'.join(above)}={json.dumps([entry for entry in data if entry != last])}"
    if not isinstance(data, Mapping) or data.get(last) is None:
        raise UsageError(f"`--without {said}`: the recipe has no `{said}`")
    return f"{said}=null"
