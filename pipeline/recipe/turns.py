"""In which order a recipe's sections make their steps: the usual one, or that of its `stages`.

    stages:
      - dedup.url                       # a part of the recipe's section
      - filter                          # the recipe's section
      - filter: {presets: [fineweb]}    # settings of its own: the second filters, steps `filter-2/...`
      - dedup.fuzzy

The listed stages take the place of all those that take documents and leave documents, between extraction and
the tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from gristmill.pipeline.run.stage import Section, sections

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe


class BadStages(ValueError):
    """The list of stages does not fit the recipe; `location` is its place there."""

    location = ("stages",)


class Turn(NamedTuple):
    """One section's turn to add steps; `spelled`: its settings stand in `stages` themselves."""

    section: Section
    settings: Any
    spelled: bool = False


def turns_of(recipe: Recipe) -> list[Turn]:
    """Return the sections with their settings in the order in which they make steps."""
    usual = [Turn(section, getattr(recipe, section.name, None)) for section in sections()]
    if not recipe.stages:
        return usual
    before = [turn for turn in usual if not turn.section.listed and turn.section.order < _first()]
    after = [turn for turn in usual if not turn.section.listed and turn.section.order >= _first()]
    return [*before, *listed_turns(recipe), *after]


def listed_turns(recipe: Recipe) -> Iterator[Turn]:
    """Yield the turns that `stages` lists, in its order; raises BadStages for a name that is no stage."""
    known = {section.name: section for section in sections() if section.listed}
    for entry in recipe.stages:
        if isinstance(entry, BaseModel):
            (name,) = entry.model_fields_set
            yield Turn(known[name], getattr(entry, name), spelled=True)
            continue
        name, dot, part = entry.partition(".")
        if name not in known or (dot and part not in _parts(known[name])):
            names = [
                spelled
                for section in known.values()
                for spelled in (section.name, *(f"{section.name}.{part}" for part in _parts(section)))
            ]
            raise BadStages(f"`stages` lists `{entry}`, there are {', '.join(names)}")
        settings = getattr(recipe, name)
        if dot and settings is not None:
            settings = settings.part(part) if getattr(settings, part) is not None else None
        yield Turn(known[name], settings)


def check_stages(recipe: Recipe) -> None:
    """Raise BadStages where `stages` lists what the recipe does not set, or leaves out what it sets."""
    listed: set[str] = set()
    for turn, entry in zip(listed_turns(recipe), recipe.stages, strict=True):
        name = turn.section.name
        own = any(isinstance(getattr(source, name, None), BaseModel) for source in recipe.sources.values())
        if turn.settings is None and not own:
            raise BadStages(f"`stages` lists `{entry}`, which the recipe does not set")
        if not turn.spelled:
            listed |= (
                {entry} if "." in str(entry) else {name, *(f"{name}.{part}" for part in _parts(turn[0]))}
            )
    for section in sections() if recipe.stages else ():
        settings = getattr(recipe, section.name, None) if section.listed else None
        if settings is None or settings == section.default:
            continue
        asked = [part for part in _parts(section) if getattr(settings, part) is not None]
        for name in [f"{section.name}.{part}" for part in asked] or [section.name]:
            if name not in listed:
                raise BadStages(
                    f"`stages` leaves out `{name}`, which the recipe sets: list it, or take it away"
                )


def _first() -> int:
    """The place of the first stage that may be listed."""
    return min(section.order for section in sections() if section.listed)


def _parts(section: Section) -> tuple[str, ...]:
    """The parts of a section that can be listed one by one: of a model that can be cut down to one."""
    return tuple(section.model.model_fields) if hasattr(section.model, "part") else ()
