"""Quality buckets: the quantile of each document by one score or several, and how topics fill them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from gristmill.classifiers.topics.settings import QualitySettings
from gristmill.facts import StepFacts
from gristmill.pins import digest_named
from gristmill.pipeline.run.libraries import CLASSIFIER, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class QualitySection(QualitySettings):
    """Quality buckets of some sources' documents or of all, and the buckets that stay."""

    apply_to: tuple[str, ...] = Field((), description="all sources when unset")


class QualitySlice(Slice):
    source: str
    quality: QualitySettings
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class QualityFacts(StepFacts):
    """How many buckets there are; documents and bytes of text of each cell, removed ones among them; the
    scores between buckets, by score and group; and documents that no score ranks."""

    buckets: int = 0
    cells: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    cuts: dict[str, Any] = field(default_factory=dict)
    unranked: int = 0


QUALITY = StageKind(
    "quality",
    QualitySlice,
    "gristmill.pipeline.phases.models.quality:quality",
    version=1,
    facts=QualityFacts,
    libraries=(*KERNELS, *CLASSIFIER),
    label="buckets",
    books="texts",
    report=("gristmill.pipeline.report.sections.topics:topics_section",),
    carries={"quality_bucket": "int64"},
)


def plan(making: Making, settings: QualitySection | None) -> None:
    """One step a source."""
    if settings is None:
        return
    quality = QualitySettings(**{name: getattr(settings, name) for name in QualitySettings.model_fields})
    external = {
        f"model.{name}": digest_named(model.path, f"quality.models.{name}.path")
        for name, model in quality.models.items()
    }
    for source in making.sources(settings.apply_to or making.last):
        for column in quality.columns:
            making.check_column(column, (source,), ("quality", "columns", column), numbers=True)
        if quality.within == "topic":
            making.check_column("topic", (source,), ("quality", "within"))
        piece = QualitySlice(source=source, quality=quality, keep_removed=making.recipe.keep_removed)
        making.last[source] = making.add(
            f"quality/{source}", QUALITY, piece, (making.last[source],), external
        )


SECTIONS = (
    Section(
        "quality",
        QualitySection,
        plan,
        order=54,
        kinds=(QUALITY,),
        sources=("apply_to",),
        listed=True,
    ),
)
