"""Several recipes as one plan: steps that variants have in common are one step.

A step of a variant is the reference's where kind, settings, what lies outside and all that it reads are the
same; else it has a name of its own, with a digest of these, so that the name does not depend on which other
variants there are: a later call with one more variant finds all steps of the others done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gristmill.errors import UsageError
from gristmill.hashing import sha256_json
from gristmill.pipeline.proof.variants import Variant
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.runner import Plan
from gristmill.pipeline.run.step import Step
from gristmill.tokenize.settings import TokenizerSettings

TOKENIZER = ("tokenizer", "tokenizer-report")  # the first variant's, for all
LAST = "mix"


@dataclass(frozen=True, slots=True)
class Merged:
    """One plan, and for each variant the name in it of each of its own steps."""

    plan: Plan
    names: Mapping[str, Mapping[str, str]]


def merge(variants: Sequence[Variant], extra: Sequence[Recipe] = (), name: str = "ablation") -> Merged:
    """Merge the variants' plans up to the mixture, all encoded with the first one's tokenizer; of the recipes
    `extra` the sources are read and no more."""
    reference = variants[0].recipe
    merging = _Merging({}, {})
    names = {}
    for variant in variants:
        if variant.recipe.section(TokenizerSettings) != reference.section(TokenizerSettings):
            raise UsageError(
                f"the variant `{variant.name}` has another tokenizer: models would see other tokens",
                hint="leave `tokenizer` as it is; bits per byte are of one tokenizer",
            )
        if variant.recipe.seed != reference.seed:
            raise UsageError(
                f"the variant `{variant.name}` has another seed: held-out documents would be others",
                hint="seeds of models are the ablation's own (`--seeds`)",
            )
        names[variant.name] = merging.add(build_plan(variant.recipe, LAST).steps)
    for recipe in extra:
        merging.add(build_plan(recipe, "extract").steps)
    shown = reference.model_dump(mode="json", exclude_none=True)
    steps = list(merging.steps.values())
    return Merged(Plan(name, reference.seed, steps, shown, reference.limits.quarantined_shards), names)


@dataclass(slots=True)
class _Merging:
    steps: dict[str, Step]
    digests: dict[str, str]  # of steps by their merged names

    def add(self, steps: Sequence[Step]) -> dict[str, str]:
        """Add a plan's steps and return their merged names."""
        names: dict[str, str] = {}
        for step in steps:
            if step.name in TOKENIZER and step.name in self.steps:
                names[step.name] = step.name
                continue
            digest = self._digest(step, names)
            name = step.name
            if self.digests.get(name, digest) != digest:
                name = f"{step.name}{'' if '/' in step.name else '/'}@{digest[:8]}"
            names[step.name] = name
            self.digests[name] = digest
            if name not in self.steps:
                inputs = tuple(names[read] for read in step.inputs)
                holders = {source: names[held] for source, held in step.holders.items()}
                self.steps[name] = replace(step, name=name, inputs=inputs, holders=holders)
        return names

    def _digest(self, step: Step, names: Mapping[str, str]) -> str:
        inputs = [[read, self.digests[names[read]]] for read in step.inputs]
        holders = dict(step.holders)
        return sha256_json([step.kind.name, step.settings, dict(step.external), inputs, holders])
