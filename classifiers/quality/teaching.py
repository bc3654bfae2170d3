"""What a classifier is taught, and what it is calibrated and judged on: three sets that share no domain and
no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.classifiers.quality.parts import U64, least_shingles, share_in
from gristmill.classifiers.quality.passages import (
    Large,
    Passage,
    Sources,
    balanced,
    of_equal_lengths,
    quotas,
    sample,
)
from gristmill.classifiers.settings import ClassifierSettings

Mask = npt.NDArray[np.bool_]
NEAR = 0.5  # of a held-out passage's 5-grams are in training passages: it is no fresh text


@dataclass(frozen=True, slots=True)
class Taught:
    """Training passages of both classes, as many of each and of the same lengths."""

    positives: list[Passage]
    negatives: list[Passage]

    def facts(self) -> dict[str, Any]:
        """Per language and per length (the power of two below, in characters): passages of each class."""
        keys = {
            "language": lambda passage: passage.language,
            "length": lambda passage: length_group(len(passage.text)),
        }
        found: dict[str, Any] = {}
        for what, key_of in keys.items():
            good, bad = (Counter(map(key_of, side)) for side in (self.positives, self.negatives))
            found[what] = {key: {"passages": [good[key], bad[key]]} for key in sorted({*good, *bad})}
        return found


@dataclass(frozen=True, slots=True)
class Labelled:
    """Held-out passages with their classes: true is curated."""

    passages: list[Passage]
    labels: Mask


@dataclass(frozen=True, slots=True)
class Halves:
    """One half calibrates, the other is reported on."""

    calibration: Labelled
    judgement: Labelled
    near_training: int
    too_little: int
    warnings: list[str]

    def facts(self) -> dict[str, Any]:
        return {
            "calibrated_on": {
                "positives": int(self.calibration.labels.sum()),
                "negatives": int((~self.calibration.labels).sum()),
            },
            "left_out": {"near_training": self.near_training, "too_little": self.too_little},
            "warnings": self.warnings,
        }


@dataclass(frozen=True, slots=True)
class Heldout:
    """Passages that nothing is trained on, per class, in the order of the sample."""

    positives: list[Passage]
    negatives: list[Passage]

    def prepared(self, known: U64, too_little: Callable[[list[str]], Mask]) -> Halves:
        """Leave out what training passages hold as well and what has no score, and halve the rest by unit."""
        near = little = 0
        sides: list[list[Passage]] = []
        for side in (self.positives, self.negatives):
            texts = [passage.text for passage in side]
            copied = share_in(texts, known) >= NEAR
            scarce = too_little(texts) & ~copied
            near, little = near + int(copied.sum()), little + int(scarce.sum())
            sides.append([passage for passage, out in zip(side, copied | scarce, strict=True) if not out])
        parts, said = _halved(_joined(sides))
        if said:  # the texts that domains share leave a class too few to halve: by domain alone
            parts, said = _halved(sides)
        return Halves(_labelled(*parts[0]), _labelled(*parts[1]), near, little, said)


def training_of(
    settings: ClassifierSettings,
    sides: Sequence[Sources],
    seed: int,
    excluded_fraction: float,
    large: Large,
    language: str | None = None,
) -> Taught:
    some: dict[str, Any] = {"quota": quotas(settings)["training"], "large": large, "language": language}
    chosen = (sample(side, settings, seed, excluded_fraction, heldout=False, **some) for side in sides)
    return Taught(*of_equal_lengths(*balanced(*chosen)))


def heldout_of(
    settings: ClassifierSettings,
    sides: Sequence[Sources],
    seed: int,
    excluded_fraction: float,
    large: Large,
    language: str | None = None,
) -> Heldout:
    some: dict[str, Any] = {"quota": quotas(settings)["heldout"], "large": large, "language": language}
    good, bad = (sample(side, settings, seed, excluded_fraction, heldout=True, **some) for side in sides)
    return Heldout(good, bad)


def length_group(chars: int) -> str:
    """The power of two at or below a length, in characters: how lengths are told apart."""
    return str(1 << (chars.bit_length() - 1)) if chars else "0"


def _joined(sides: Sequence[Sequence[Passage]]) -> list[list[Passage]]:
    """Give units that hold equal or nearly equal texts one name, so that no half has what the other has: a
    text may stand on many domains, and in both classes."""
    passages = [passage for side in sides for passage in side]
    names: dict[bytes, bytes] = {}

    def name_of(unit: bytes) -> bytes:
        while (name := names.get(unit, unit)) != unit:
            names[unit] = unit = names.get(name, name)
        return unit

    first: dict[int, bytes] = {}
    keys = least_shingles(pa.array([passage.text for passage in passages], pa.large_string())).tolist()
    for passage, key in zip(passages, keys, strict=True):
        pair = sorted((name_of(passage.unit), name_of(first.setdefault(key, passage.unit))))
        names[pair[1]] = pair[0]
    return [[replace(passage, unit=name_of(passage.unit)) for passage in side] for side in sides]


def _halved(
    sides: Sequence[Sequence[Passage]],
) -> tuple[list[list[list[Passage]]], list[str]]:
    """Deal the units of each class in turn to two halves, in hash order: a half has no more than one unit
    less, and a domain that both classes have is on one side.

    A class with one unit is dealt by passage, one with a single passage stands in both halves: both are said.
    """
    half_of: dict[bytes, int] = {}
    parts: list[list[list[Passage]]] = [[], []]
    said = []
    for name, side in zip(("positives", "negatives"), sides, strict=True):
        fresh = sorted({passage.unit for passage in side} - half_of.keys())
        half_of.update({unit: number % 2 for number, unit in enumerate(fresh)})
        halves = [[passage for passage in side if half_of[passage.unit] == half] for half in (0, 1)]
        if not all(halves):
            halves = [list(side[half::2]) or list(side) for half in (0, 1)]
            said.append(
                f"of the {name} one document or domain is held out: it calibrates the classifier and is what"
                " this report judges by; give more documents, or raise"
                " `classify.classifier.heldout_fraction`"
            )
        for part, half in zip(parts, halves, strict=True):
            part.append(half)
    return parts, said


def _labelled(good: list[Passage], bad: list[Passage]) -> Labelled:
    good, bad = balanced(good, bad)
    return Labelled([*good, *bad], np.arange(len(good) + len(bad)) < len(good))
