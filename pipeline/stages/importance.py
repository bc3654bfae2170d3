"""Distributions of words and pairs of words, by which RedPajama-V2's importance weights compare texts with
books, Wikipedia or a crawl: one for each source that is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from gristmill.facts import StepFacts
from gristmill.filters.published.distribution import BUCKETS
from gristmill.pipeline.run.libraries import KERNELS
from gristmill.pipeline.run.stage import Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class ImportanceSection(BaseModel):
    """Distributions of sources for importance weights, which the filter preset `redpajama-v2` measures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_on: tuple[str, ...] = Field(
        min_length=1, description="sources to count words and pairs of words of, each by itself"
    )
    buckets: int = Field(
        BUCKETS, ge=2, le=1 << 24, description="of the hash of a word or pair; 10,000 in RedPajama-V2"
    )
    sample_documents: int = Field(
        500_000,
        ge=1,
        description="documents counted of a source, about: a hash decides which; 500,000 in RedPajama-V2",
    )


class ImportanceTrainSlice(Slice):
    source: str
    buckets: int
    sample_documents: int
    heldout_fraction: float


@dataclass(frozen=True, slots=True)
class ImportanceTrainFacts(StepFacts):
    """Documents counted, and their words."""

    documents: int = 0
    words: int = 0


TRAIN = StageKind(
    "importance-train",
    ImportanceTrainSlice,
    "gristmill.pipeline.phases.models.importance:train",
    version=1,
    facts=ImportanceTrainFacts,
    libraries=KERNELS,
)


def plan(making: Making, settings: ImportanceSection | None) -> None:
    """Count each source by itself."""
    if settings is None:
        return
    for source in making.sources(settings.train_on):
        piece = ImportanceTrainSlice(
            source=source,
            buckets=settings.buckets,
            sample_documents=settings.sample_documents,
            heldout_fraction=making.heldout_fraction,
        )
        making.add(f"importance-train/{source}", TRAIN, piece, (making.last[source],))


SECTIONS = (Section("importance", ImportanceSection, plan, order=49, kinds=(TRAIN,), sources=("train_on",)),)
