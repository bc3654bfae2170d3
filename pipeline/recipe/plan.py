"""From a recipe to its steps: every declared section adds those it makes, in the order of sections or in the
recipe's own."""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.pins import collect_pins
from gristmill.pipeline.recipe.about import check_needs
from gristmill.pipeline.recipe.making import Making, PreflightSample
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.turns import turns_of
from gristmill.pipeline.run.runner import Plan

Samples = Mapping[str, PreflightSample]


def build_plan(recipe: Recipe, until: str | None = None, samples: Samples | None = None) -> Plan:
    """Resolve a recipe into its steps, all or up to one section; lists inputs, reads none."""
    making = Making(recipe, samples or {})
    collect_pins()  # of a plan that was given up
    check_needs(recipe)
    turns = turns_of(recipe)
    last = max((number for number, turn in enumerate(turns) if turn.section.name == until), default=None)
    num = len(turns) if last is None else last + 1
    for turn in turns[:num]:
        making.spelled = turn.spelled
        turn.section.plan(making, turn.settings)
    making.check_passed()
    later = [
        kind.name
        for turn in turns[num:]
        if turn.section.model is None or turn.settings is not None
        for kind in turn.section.kinds
    ]
    shown = recipe.model_dump(mode="json", exclude_none=True)
    return Plan(
        recipe.name,
        recipe.seed,
        making.steps,
        shown,
        recipe.limits.quarantined_shards,
        later,
        keeps_ends=recipe.keep == "ends",
    )
