"""The n-gram language model: counted on sources, scores others, and is measured on held-out documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gristmill.classifiers.settings import BucketSettings, KenlmSettings, NgramSettings
from gristmill.facts import StepFacts
from gristmill.pins import digest_named
from gristmill.pipeline.run.libraries import KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind
from gristmill.tokenize.settings import MixSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class NgramSection(BaseModel):
    """An n-gram language model counted on sources, and the sources whose documents it scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_on: tuple[str, ...] = Field((), description="sources to count n-grams of")
    apply_to: tuple[str, ...] = Field(
        (), description="sources whose documents get a perplexity and a bucket, and can be removed"
    )
    path: str | None = Field(
        None,
        description="a model to score with instead of counting one: its folder, or a KenLM model's file",
    )
    languages: tuple[str, ...] = Field(
        (), description="of a KenLM model: documents in others go to bucket `all`; all languages when unset"
    )
    kenlm: KenlmSettings = KenlmSettings()
    model: NgramSettings = NgramSettings()
    buckets: BucketSettings = BucketSettings()
    heldout_fraction: float = Field(
        0.005,
        ge=0,
        lt=1,
        description=(
            "share of documents kept from counting, to score instead; that of `mix` where there is one"
        ),
    )

    @model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if bool(self.train_on) == bool(self.path):
            raise ValueError("give either `train_on`, to count a model, or `path`, to use one")
        if self.path and not self.apply_to:
            raise ValueError("a model by `path` needs `apply_to`: the sources to score")
        return self


class NgramTrainSlice(Slice):
    model: NgramSettings
    sources: tuple[str, ...]
    heldout_fraction: float


class NgramScoreSlice(Slice):
    source: str
    path: str | None
    kenlm: KenlmSettings
    languages: tuple[str, ...]
    buckets: BucketSettings
    keep_removed: KeepRemoved


class NgramHeldoutSlice(Slice):
    sources: tuple[str, ...]
    heldout_fraction: float


@dataclass(frozen=True, slots=True)
class NgramTrainFacts(StepFacts):
    """Words counted, also by language; distinct n-grams, and those of them that the table keeps."""

    words: int = 0
    languages: dict[str, int] = field(default_factory=dict)
    ngrams: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class NgramScoreFacts(StepFacts):
    """Each language's cuts between buckets; documents by language that the model never saw."""

    language_bounds: dict[str, Any] = field(default_factory=dict)
    unseen_languages: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NgramHeldoutFacts(StepFacts):
    """A row of measures for each source."""

    heldout: list[dict[str, Any]] = field(default_factory=list)


TRAIN = StageKind(
    "ngram-train",
    NgramTrainSlice,
    "gristmill.pipeline.phases.models.ngram:train",
    version=3,
    facts=NgramTrainFacts,
    libraries=(*KERNELS, "sentencepiece"),
)
SCORE = StageKind(
    "ngram-score",
    NgramScoreSlice,
    "gristmill.pipeline.phases.models.ngram_score:score",
    version=4,
    facts=NgramScoreFacts,
    libraries=(*KERNELS, "sentencepiece"),
    label="perplexity",
    books="texts",
    carries={"perplexity": "float64", "bucket": "string"},
)
HELDOUT = StageKind(
    "ngram-heldout",
    NgramHeldoutSlice,
    "gristmill.pipeline.phases.models.ngram:heldout",
    version=3,
    facts=NgramHeldoutFacts,
    libraries=(*KERNELS, "sentencepiece"),
    report=("gristmill.pipeline.report.sections.training:training_section",),
)


def plan(making: Making, settings: NgramSection | None) -> None:
    """Count a model, unless it is named by path, and score sources with it."""
    from gristmill.pipeline.stages.extract import check_language

    if settings is None:
        return
    model: tuple[str, ...] = ()
    external: dict[str, str] = {}
    if settings.path:
        external = {"model": digest_named(settings.path, "ngram.path")}
        if settings.kenlm.pieces:
            external["pieces"] = digest_named(settings.kenlm.pieces, "ngram.kenlm.pieces")
    else:
        sources = making.sources(settings.train_on)
        piece = NgramTrainSlice(
            model=settings.model, sources=sources, heldout_fraction=_heldout_fraction(making, settings)
        )
        model = (making.add("ngram-train", TRAIN, piece, making.inputs(sources)),)
    for source in making.sources(settings.apply_to):
        if settings.languages:
            check_language(making, source, "ngram", "languages")
        score = NgramScoreSlice(
            source=source,
            path=settings.path,
            kenlm=settings.kenlm,
            languages=settings.languages,
            buckets=settings.buckets,
            keep_removed=making.recipe.keep_removed,
        )
        inputs = (making.last[source], *model)
        making.last[source] = making.add(f"ngram-score/{source}", SCORE, score, inputs, external)


def plan_heldout(making: Making, _: None) -> None:
    """Lay the n-gram model beside the transformer: the same documents, as they are after all that removes
    some."""
    settings = making.recipe.section(NgramSection)
    if settings is None or settings.path:
        return
    mixed = making.recipe.section(MixSettings)
    sources = making.mixed_sources if mixed else making.sources((*settings.train_on, *settings.apply_to))
    piece = NgramHeldoutSlice(sources=sources, heldout_fraction=_heldout_fraction(making, settings))
    making.add("ngram-heldout", HELDOUT, piece, (*making.inputs(sources), "ngram-train"))


def _heldout_fraction(making: Making, settings: NgramSection) -> float:
    mixed = making.recipe.section(MixSettings)
    return making.heldout_fraction if mixed else settings.heldout_fraction


SECTIONS = (
    Section(
        "ngram",
        NgramSection,
        plan,
        order=50,
        kinds=(TRAIN, SCORE),
        sources=("train_on", "apply_to"),
        listed=True,
    ),
    Section("ngram-heldout", None, plan_heldout, order=70, kinds=(HELDOUT,)),
)
