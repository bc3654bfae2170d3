"""Chains: steps that follow each other over the same shards, so that one task can do the work of all.

Where a recipe keeps only the documents of ends (`keep: ends`), a step whose documents one other step reads,
row by row, hands them on and writes none. Such a step is of another identity than one that wrote its
documents, and what reads it is made of that identity. The last step of a chain has the same bytes either way,
and so has all that stands on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.manifest import Manifest, find_manifest
from gristmill.pipeline.run.job import Job, Onward
from gristmill.pipeline.run.onward import onward_of
from gristmill.pipeline.run.step import Step, identity, ingredients, step_folder


def followers(steps: Sequence[Step]) -> dict[str, Step]:
    """Which step can work in the tasks of another, by that one's name."""
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in dict.fromkeys(step.holders.values()):
            readers.setdefault(name, []).append(step)
    by_name = {step.name: step for step in steps}
    found = {}
    for name, reading in readers.items():
        before, step = by_name[name], reading[0]
        source = getattr(step.slice, "source", None)
        follows = bool(step.kind.follows) and step.kind.follows_if(step.slice)
        same = source is not None and source == getattr(before.slice, "source", None)
        alone = len(reading) == 1 and step.holders.get(str(source)) == name
        if alone and same and follows and before.kind.hands:
            found[name] = step
    return found


@dataclass(frozen=True)
class Chains:
    """The chains of a plan, and what an output folder holds of them."""

    out: Path
    seed: int
    after: Mapping[str, Step]  # the step that a step hands its documents on to

    def needed(self, step: Step) -> set[str]:
        """The steps that must be finished before one is begun: its inputs, and those of the steps behind
        it."""
        needed, at = set(step.inputs), step
        while following := self.after.get(at.name):
            needed |= {*following.inputs} - {at.name}
            at = following
        return needed

    def ingredients(
        self, step: Step, inputs: Mapping[str, Manifest], handed_on: str | None = None
    ) -> dict[str, Any]:
        given = {name: inputs[name].given_digest for name in step.inputs}
        return ingredients(step, given, self.seed, handed_on)

    def found(self, step: Step, known: Mapping[str, Manifest]) -> dict[str, Any] | None:
        """The ingredients of a step that handed its documents on, where it and all behind it are there and
        whole."""
        following = self.after.get(step.name)
        if following is None or not self.needed(step) <= known.keys():
            return None
        facts = self.ingredients(step, known, following.name)
        handed = self._whole(step, facts)
        if handed is None:
            return None
        further = {**known, step.name: handed}
        if self._whole(following, self.ingredients(following, further)) or self.found(following, further):
            return facts
        return None

    def lossy(self, step: Step, known: Mapping[str, Manifest]) -> dict[str, Any] | None:
        """The ingredients of a step that handed its documents on and lost tasks."""
        following = self.after.get(step.name)
        if following is None:
            return None
        facts = self.ingredients(step, known, following.name)
        manifest = find_manifest(step_folder(self.out, step.name, identity(facts)))
        return facts if manifest and manifest.lost else None

    def onward(self, step: Step, facts: Mapping[str, Any], known: Mapping[str, Manifest]) -> list[Onward]:
        """The steps behind one that is about to hand its documents on, each with its folder."""
        found, at, key = [], step, identity(facts)
        while following := self.after.get(at.name):
            others = {name: known[name] for name in following.inputs if name != at.name}
            given = {name: key if name == at.name else known[name].given_digest for name in following.inputs}
            behind = self.after.get(following.name)
            own = ingredients(following, given, self.seed, behind.name if behind else None)
            key = identity(own)
            folder = step_folder(self.out, following.name, key)
            job = Job(
                following.name,
                following.slice,
                others,
                self.seed,
                folder,
                following.holders,
                following.carried,
            )
            found.append(onward_of(following, job, own["libraries"]))
            at = following
        return found

    def _whole(self, step: Step, facts: Mapping[str, Any]) -> Manifest | None:
        manifest = find_manifest(step_folder(self.out, step.name, identity(facts)))
        return manifest if manifest and not manifest.lost else None
