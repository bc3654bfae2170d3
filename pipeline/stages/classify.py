"""The quality classifier: trained on curated against crawled sources, it scores and cuts others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from gristmill.classifiers.settings import ClassifierSettings, Pareto, TopFraction
from gristmill.errors import RecipeError
from gristmill.facts import StepFacts
from gristmill.pins import digest_named
from gristmill.pipeline.run.libraries import CLASSIFIER, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class ClassifySettings(BaseModel):
    """A quality classifier trained on curated against crawled sources, and the sources it decides on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    positives: tuple[str, ...] = Field((), description="curated sources")
    negatives: tuple[str, ...] = Field((), description="crawled sources")
    apply_to: tuple[str, ...] = Field(
        (), description="sources whose documents are scored and removed; the negatives when unset"
    )
    classifier: ClassifierSettings = ClassifierSettings()

    @property
    def targets(self) -> tuple[str, ...]:
        return self.apply_to or self.negatives


class ClassifyTrainSlice(Slice):
    classifier: ClassifierSettings
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    heldout_fraction: float


class ClassifyScoreSlice(Slice):
    source: str
    classifier: ClassifierSettings
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class ClassifyTrainFacts(StepFacts):
    """`report` is the classifier's card: its passages, measures, calibration and telling words."""

    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClassifyScoreFacts(StepFacts):
    """The rule it kept by; documents kept and removed, by language and by length."""

    rule: str = ""
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


_REPORT = ("gristmill.pipeline.report.sections.quality:quality_section",)
TRAIN = StageKind(
    "classify-train",
    ClassifyTrainSlice,
    "gristmill.pipeline.phases.models.classify:train",
    version=3,
    facts=ClassifyTrainFacts,
    libraries=(*KERNELS, *CLASSIFIER),
    report=_REPORT,
)
SCORE = StageKind(
    "classify-score",
    ClassifyScoreSlice,
    "gristmill.pipeline.phases.models.classify_score:score",
    version=5,
    facts=ClassifyScoreFacts,
    libraries=(*KERNELS, *CLASSIFIER),
    label="quality",
    books="texts",
    report=_REPORT,
    carries={"quality_score": "float64"},
    hands="keep",
    follows="gristmill.pipeline.phases.models.classify_score:as_they_come",
    follows_if=lambda piece: not isinstance(piece.classifier.keep, TopFraction),
)


def plan(making: Making, settings: ClassifySettings | None) -> None:
    """Train one model, unless it is named by path, and score each target source by it."""
    from gristmill.pipeline.stages.extract import check_language

    if settings is None:
        return
    model: tuple[str, ...] = ()
    external: dict[str, str] = {}
    if settings.classifier.model:
        external = {"model": digest_named(settings.classifier.model, "classify.classifier.model")}
    else:
        model = (_train(making, settings),)
    for source in making.sources(settings.targets):
        if settings.classifier.by == "language":
            check_language(making, source, "classify", "classifier", "by")
        piece = ClassifyScoreSlice(
            source=source, classifier=settings.classifier, keep_removed=making.recipe.keep_removed
        )
        making.last[source] = making.add(
            f"classify-score/{source}", SCORE, piece, (making.last[source], *model), external
        )


def _train(making: Making, settings: ClassifySettings) -> str:
    for role in ("positives", "negatives"):
        if not getattr(settings, role):
            raise RecipeError(
                f"`classify.{role}` must name at least one source",
                hint=f"the recipe has {', '.join(making.recipe.sources)}",
            )
    positives, negatives = making.sources(settings.positives), making.sources(settings.negatives)
    piece = ClassifyTrainSlice(
        # Another rule needs no other model.
        classifier=settings.classifier.model_copy(update={"keep": Pareto()}),
        positives=positives,
        negatives=negatives,
        heldout_fraction=making.heldout_fraction,
    )
    return making.add("classify-train", TRAIN, piece, making.inputs((*positives, *negatives)))


SECTIONS = (
    Section(
        "classify",
        ClassifySettings,
        plan,
        order=40,
        kinds=(TRAIN, SCORE),
        sources=("positives", "negatives", "apply_to"),
        listed=True,
    ),
)
