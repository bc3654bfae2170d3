"""Steps: what a recipe asks for, one by one, each with an identity that its output path carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill.files.storage import FILE_FORMAT
from gristmill.hashing import sha256_json
from gristmill.pipeline.run.libraries import version_of
from gristmill.pipeline.run.stage import Slice, StageKind


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the plan: a kind of step with its slice of the recipe, reading the steps named in `inputs`.

    `external` digests what lies outside the recipe: listings of source files, user code, models. `holders`
    says for each source which of the inputs has its documents as they are now: two inputs may both have some,
    one from before and one from after a step. Outside the identity: `pins`, the digests of the files
    behind `external`, and `carried`, the listings themselves, so that what is read is what was planned.
    `keeps` names settings: while these are the same, what the folder holds of the step stays, whatever it
    was made from.
    """

    name: str
    kind: StageKind
    slice: Slice
    inputs: tuple[str, ...] = ()
    external: Mapping[str, str] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict, repr=False)
    carried: Mapping[str, Any] = field(default_factory=dict, repr=False)
    keeps: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        return self.kind.name

    @property
    def settings(self) -> dict[str, Any]:
        """The slice as plain JSON, as identities and manifests hold it: secrets are redacted by their own
        models."""
        return self.slice.model_dump(mode="json")


def ingredients(
    step: Step, inputs: Mapping[str, str], seed: int, handed_on: str | None = None
) -> dict[str, Any]:
    """Everything that decides a step's bytes, in the form whose digest is its identity.

    `inputs` are the digests that stand for the steps it reads (`Manifest.given_digest`). `handed_on` names
    the step that works on its documents in the same tasks, so that they become no files.
    """
    handing = {"handed_on": handed_on} if handed_on else {}
    return {
        "stage": step.stage,
        "version": step.kind.version,
        "files": FILE_FORMAT,
        "seed": seed,
        "settings": step.settings,
        "inputs": dict(inputs),
        "external": dict(step.external),
        "libraries": {name: version_of(name) for name in step.kind.libraries},
        **handing,
    }


def identity(ingredients: Mapping[str, Any]) -> str:
    return sha256_json(dict(ingredients))


def step_folder(out: Path, name: str, identity: str) -> Path:
    """The folder of a step's output: a changed recipe changes the identity, so it never meets stale files."""
    return out / "steps" / f"{name.replace('/', '-')}-{identity[:12]}"


def is_kept(step: Step, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an earlier result of a step, by its ingredients, stands for one of new ingredients."""
    same = ("stage", "version", "files", "seed", "external", "libraries")
    return (
        bool(step.keeps)
        and all(old.get(name) == new[name] for name in same)
        and all(old["settings"].get(name) == new["settings"][name] for name in step.keeps)
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name what changed between two sets of ingredients, as dotted paths: the reason a step is stale."""
    changed = []
    for key in sorted({*old, *new}):
        path = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changed += differences(before, after, f"{path}.")
        elif before != after:
            changed.append(path)
    return changed
