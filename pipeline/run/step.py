"""Steps: what a recipe asks for, one by one, each with an identity that its output path carries."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gristmill.hashing import sha256_json
from gristmill.manifest import Manifest
from gristmill.pipeline.run.job import Job, Stage
from gristmill.storage import FILE_FORMAT


@dataclass(frozen=True, slots=True)
class StageKind:
    """A kind of step: where its generator lies, the version of the bytes it writes, and the libraries that
    shape them.

    `version` is raised whenever the same input would give other bytes; a golden test holds it to that.
    """

    function: str
    version: int
    libraries: tuple[str, ...] = ()

    def load(self) -> Callable[[Job], Stage]:
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


_STAGES = "gristmill.pipeline.stages"
STAGES: Mapping[str, StageKind] = {
    "extract": StageKind(
        f"{_STAGES}.extract:extract",
        4,
        ("trafilatura", "resiliparse", "fastwarc", "pycld2", "lxml", "pyarrow", "numba"),
    ),
    "adopt": StageKind(f"{_STAGES}.adopt:adopt", 2, ("pyarrow",)),
    "filter": StageKind(f"{_STAGES}.filter:filter_documents", 3, ("pyarrow", "numba", "pycld2")),
    "recut": StageKind(f"{_STAGES}.recut:recut_documents", 2, ("pyarrow", "numba")),
    "dedup-exact": StageKind(f"{_STAGES}.dedup:exact_stage", 4, ("pyarrow",)),
    "dedup-fuzzy": StageKind(f"{_STAGES}.dedup:fuzzy_stage", 4, ("pyarrow", "numba")),
    "dedup-pieces": StageKind(f"{_STAGES}.dedup_pieces:pieces_stage", 3, ("pyarrow", "numba")),
    "dedup-substring": StageKind(
        f"{_STAGES}.dedup_substring:substring_stage", 2, ("pyarrow", "numba", "pydivsufsort")
    ),
    "dedup-decontaminate": StageKind(f"{_STAGES}.decontaminate:decontaminate_stage", 3, ("pyarrow", "numba")),
    "classify-train": StageKind(
        f"{_STAGES}.classify:train", 2, ("fasttext-modern", "scikit-learn", "pyarrow")
    ),
    "classify-score": StageKind(
        f"{_STAGES}.classify:score", 4, ("fasttext-modern", "scikit-learn", "pyarrow")
    ),
    "ngram-train": StageKind(f"{_STAGES}.ngram:train", 1, ("numba",)),
    "ngram-score": StageKind(f"{_STAGES}.ngram_score:score", 2, ("pyarrow", "numba")),
    "ngram-heldout": StageKind(f"{_STAGES}.ngram:heldout", 1, ("numba",)),
    "coverage": StageKind(f"{_STAGES}.coverage:coverage", 2, ("pyarrow",)),
    "tokenizer": StageKind(f"{_STAGES}.tokenizer:train", 4, ("sentencepiece",)),
    "encode": StageKind(f"{_STAGES}.encode:encode", 2, ("sentencepiece", "tokenizers", "gigatoken")),
    "mix": StageKind(f"{_STAGES}.mix:mix", 2),
    "train": StageKind(f"{_STAGES}.train:train", 2, ("torch",)),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the plan: a stage with its slice of the recipe, reading the steps named in `inputs`.

    `external` digests what lies outside the recipe: listings of source files, user code, models. `holders`
    says for each source which of the inputs has its documents as they are now: two inputs may both have some,
    one from before and one from after a step. Outside the identity: `pins`, the digests of the files
    behind `external`, and `carried`, the listings themselves, so that what is read is what was planned.
    """

    name: str
    stage: str
    slice: BaseModel
    inputs: tuple[str, ...] = ()
    external: Mapping[str, str] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict, repr=False)
    carried: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> StageKind:
        return STAGES[self.stage]

    @property
    def settings(self) -> dict[str, Any]:
        """The slice as plain JSON, as identities and manifests hold it: secrets are redacted by their own
        models."""
        return self.slice.model_dump(mode="json")


def ingredients(step: Step, inputs: Mapping[str, Manifest], seed: int) -> dict[str, Any]:
    """Everything that decides a step's bytes, in the form whose digest is its identity."""
    return {
        "stage": step.stage,
        "version": step.kind.version,
        "files": FILE_FORMAT,
        "seed": seed,
        "settings": step.settings,
        "inputs": {name: manifest.content_digest for name, manifest in inputs.items()},
        "external": dict(step.external),
        "libraries": {name: importlib.metadata.version(name) for name in step.kind.libraries},
    }


def identity(ingredients: Mapping[str, Any]) -> str:
    return sha256_json(dict(ingredients))


def step_folder(out: Path, name: str, identity: str) -> Path:
    """The folder of a step's output: a changed recipe changes the identity, so it never meets stale files."""
    return out / "steps" / f"{name.replace('/', '-')}-{identity[:12]}"


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
