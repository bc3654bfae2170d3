"""What topics and quality buckets can be asked for, with published values as defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gristmill.classifiers.settings import ClassifierSettings, Preparation, Window


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TopicSettings(_Settings):
    """Topics learned from documents, or told by a fastText model, and the topics that are removed."""

    model: str | None = Field(
        default=None,
        description=(
            "topics learned before (the folder of `classify topics`), or a fastText model whose labels are"
            " topics, such as one of WebOrganizer's, instead of learning them"
        ),
    )
    number: Annotated[int, Field(ge=2, le=256)] | Literal["auto"] = Field(
        default="auto",
        description=(
            "topics to learn; auto: the largest of 4, 6, 8, 10, 12, 16, 20, 24, 32, 48 for which"
            " halves of the sample, cut in five ways, agree by `min_stability`, any two of the ten"
        ),
    )
    min_stability: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="least adjusted Rand index of two halves, 1 being the same topics",
    )
    sample_documents: int = Field(
        default=50_000, ge=100, description="documents learned from, about: a hash decides which"
    )
    window_chars: int = Field(
        default=8000, ge=100, description="characters read of a document's beginning, also by a model"
    )
    dimensions: int = Field(default=64, ge=2, le=512, description="of the space that words are brought to")
    fine_clusters: int = Field(
        default=256,
        ge=2,
        le=4096,
        description="clusters of mini-batch k-means, merged by Ward's criterion to where k-means for"
        " topics begins: it is stable so, and not from random points",
    )
    restarts: int = Field(
        default=4, ge=1, description="fine clusterings to begin from; the end of least sum of squares is kept"
    )
    min_documents: int = Field(
        default=5, ge=1, description="documents of the sample that must hold a word; rarer ones are unknown"
    )
    max_fraction: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description=(
            "words in a larger share of the sample, or of its documents of one language, are left out"
        ),
    )
    prepare: Preparation = Field(
        default="spaces", description="how a text becomes a line of a fastText model"
    )
    remove: tuple[str, ...] = Field(
        default=(), description="topics whose documents are removed, by rule `topics.remove`"
    )


class RankModel(_Settings):
    """A fastText model by path whose score ranks documents."""

    path: str = Field(description="the model's file, or the folder of `classify train`")
    label_weights: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None, description="score = sum of weight x probability over labels; {__label__hq: 1} if unset"
    )
    prepare: Preparation = Field(
        default="spaces", description="how a text becomes a line, as in `classify.classifier`; DCLM's: lines"
    )
    window: Window = Field(
        default="head", description="which characters of a long text are scored; DCLM's model: whole"
    )
    window_chars: int = Field(default=4000, ge=100, description="characters scored of a text")

    def as_classifier(self) -> ClassifierSettings:
        """The settings by which the quality classifier's scorer opens it."""
        return ClassifierSettings(
            model=self.path,
            label_weights=self.label_weights,
            prepare=self.prepare,
            window=self.window,
            window_chars=self.window_chars,
        )


class QualitySettings(_Settings):
    """Quality buckets: the quantiles of one score, or of several together."""

    columns: dict[str, Literal["higher", "lower"]] = Field(
        default={},
        description=(
            "numeric columns of documents that rank them, and which end is better: {quality_score: higher,"
            " perplexity: lower}"
        ),
    )
    models: dict[str, RankModel] = Field(
        default={}, description="fastText models that rank them, by a name of yours"
    )
    buckets: int = Field(
        default=20,
        ge=2,
        le=1000,
        description="quantiles, 0 the lowest; Nemotron-CC and Dolma 3 have 20",
    )
    ensemble: Literal["max", "mean"] = Field(
        default="max",
        description=(
            "the bucket of a document that several scores rank: the highest of its buckets (Nemotron-CC), or"
            " their mean, rounded down"
        ),
    )
    within: Literal["source", "topic", "language"] = Field(
        default="source",
        description="what documents are ranked among: all of the source, or those of their topic (Dolma 3)"
        " or language",
    )
    min_group: int = Field(
        default=100,
        ge=1,
        description="documents of the smallest topic or language that is ranked by itself; others are ranked"
        " among all of the source",
    )
    keep_from: int = Field(
        default=0, ge=0, description="lowest bucket that stays; lower ones go by rule `quality.bucket`"
    )

    @model_validator(mode="after")
    def _ranks_by_something(self) -> Self:
        if not self.columns and not self.models:
            raise ValueError("give `columns` or `models`, by which documents are ranked")
        if both := sorted(set(self.columns) & set(self.models)):
            raise ValueError(f"`{both[0]}` names a column and a model; give the model another name")
        if self.keep_from >= self.buckets:
            raise ValueError(
                f"`keep_from` is {self.keep_from}, the highest of {self.buckets} buckets is"
                f" {self.buckets - 1}"
            )
        return self
