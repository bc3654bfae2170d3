"""The mixture: encoded sources are drawn by their proportions into shuffled shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gristmill.cells import BUCKET, TOPIC
from gristmill.facts import StepFacts
from gristmill.pipeline.run.libraries import KERNELS, TOKENIZERS
from gristmill.pipeline.run.stage import Section, Slice, StageKind
from gristmill.tokenize.settings import CellWeight, MixSettings, TokenizerSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making
    from gristmill.pipeline.recipe.model import Recipe


class MixSlice(Slice):
    mix: MixSettings
    tokenizer: TokenizerSettings


@dataclass(frozen=True, slots=True)
class MixFacts(StepFacts):
    """The mixture as `planned`, and as realised in training (`table`) and held-out shards, a row a source;
    sources that miss their share; what sources hold (`sizes`), how many of their tokens are in shards once
    or more; documents cut at a boundary; by split and source, first shard, number of shards, copies; and by
    source, topic and bucket the weight, and the tokens `taken`, where a curve weighs cells."""

    planned: list[dict[str, Any]] = field(default_factory=list)
    table: list[dict[str, Any]] = field(default_factory=list)
    heldout: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    misses: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    distinct_tokens: dict[str, int] = field(default_factory=dict)
    cut: dict[str, Any] = field(default_factory=dict)
    places: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    cells: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)


MIX = StageKind(
    "mix",
    MixSlice,
    "gristmill.pipeline.phases.mix.mixture:mix",
    version=4,
    facts=MixFacts,
    libraries=(*KERNELS, *TOKENIZERS),
    label="mixed",
    books="tokens",
    report=(
        "gristmill.pipeline.report.sections.mixture:mixture_section",
        "gristmill.pipeline.report.sections.balance:balance_section",
    ),
)


def plan(making: Making, settings: MixSettings | None) -> None:
    """One step over all encoded sources."""
    tokenizer = making.recipe.section(TokenizerSettings)
    if settings is None or tokenizer is None:
        return
    for source in making.mixed_sources:
        weight = settings.weight_of(source)
        if isinstance(weight, CellWeight):
            making.check_column(BUCKET, (source,), ("mix", "weights", source), numbers=True)
            if weight.topics:
                making.check_column(TOPIC, (source,), ("mix", "weights", source, "topics"))
        elif weight:
            making.check_column(weight.column, (source,), ("mix", "weights", source), numbers=True)
    inputs = (*(f"encode/{source}" for source in making.mixed_sources), "tokenizer")
    making.add("mix", MIX, MixSlice(mix=settings, tokenizer=tokenizer), inputs)


def check(recipe: Recipe) -> None:
    """Raise ValueError for a mixture without a tokenizer."""
    if recipe.section(MixSettings) and recipe.section(TokenizerSettings) is None:
        raise ValueError("`mix` needs a `tokenizer` section")


SECTIONS = (
    Section(
        "mix",
        MixSettings,
        plan,
        order=100,
        kinds=(MIX,),
        sources=("proportions", "max_epochs", "weights"),
        check=check,
    ),
)
