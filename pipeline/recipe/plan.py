"""From a recipe to its steps: every declared section adds those it makes, in the order of sections."""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.pins import collect_pins
from gristmill.pipeline.recipe.making import Making, PreflightSample
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.runner import Plan
from gristmill.pipeline.run.stage import sections

Samples = Mapping[str, PreflightSample]


def build_plan(recipe: Recipe, until: str | None = None, samples: Samples | None = None) -> Plan:
    """Resolve a recipe into its steps, all or up to one section; lists inputs, reads none."""
    making = Making(recipe, samples or {})
    collect_pins()  # of a plan that was given up
    declared = sections()
    names = [section.name for section in declared]
    num = names.index(until) + 1 if until in names else len(names)
    for section in declared[:num]:
        section.plan(making, getattr(recipe, section.name, None))
    later = [
        kind.name
        for section in declared[num:]
        if section.model is None or getattr(recipe, section.name, None) is not None
        for kind in section.kinds
    ]
    shown = recipe.model_dump(mode="json", exclude_none=True)
    return Plan(recipe.name, recipe.seed, making.steps, shown, recipe.limits.quarantined_shards, later)
