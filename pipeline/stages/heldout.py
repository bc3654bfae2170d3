"""The held-out split, looked through for documents that training has, too, inside others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gristmill.dedup.settings.against import HeldoutSettings
from gristmill.facts import StepFacts
from gristmill.pipeline.run.libraries import DEDUP, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind
from gristmill.tokenize.settings import MixSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making
    from gristmill.pipeline.recipe.model import Recipe


class HeldoutSlice(Slice):
    sources: tuple[str, ...]
    heldout: HeldoutSettings
    heldout_fraction: float
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class HeldoutFacts(StepFacts):
    """Held-out documents, those found inside others, those moved to training with all that is held out with
    them; n-grams that too many share to say anything, and documents that have no others."""

    heldout: int = 0
    found: int = 0
    moved: int = 0
    common_ngrams: int = 0
    without_ngrams: int = 0


HELDOUT = StageKind(
    "heldout",
    HeldoutSlice,
    "gristmill.pipeline.phases.heldout:heldout",
    version=1,
    facts=HeldoutFacts,
    libraries=(*KERNELS, *DEDUP),
    label="held-out split",
    books="texts",
    carries={"cluster_id": "binary"},
)


def plan(making: Making, settings: HeldoutSettings | None) -> None:
    """One step over the sources that are mixed; where documents move, it leaves them with a new cluster."""
    if settings is None:
        return
    sources = making.mixed_sources
    piece = HeldoutSlice(
        sources=sources,
        heldout=settings,
        heldout_fraction=making.heldout_fraction,
        keep_removed=making.recipe.keep_removed,
    )
    step = making.add("heldout", HELDOUT, piece, making.inputs(sources))
    if settings.decontaminate == "move":
        making.last.update(dict.fromkeys(sources, step))


def check(recipe: Recipe) -> None:
    """Raise ValueError where nothing is held out."""
    mix = recipe.section(MixSettings)
    if recipe.section(HeldoutSettings) and not (mix and mix.heldout_fraction):
        raise ValueError("`heldout` needs held-out documents: a `mix` with `heldout_fraction` above 0")


SECTIONS = (Section("heldout", HeldoutSettings, plan, order=35, kinds=(HELDOUT,), check=check),)
