"""A recipe: one YAML file, one frozen model, each section owned by the part that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from gristmill.classifiers.settings import BucketSettings, ClassifierSettings, CoverageSettings, NgramSettings
from gristmill.dedup.settings import DedupSettings
from gristmill.errors import GristmillError
from gristmill.filters.settings import FilterSettings
from gristmill.location import default_storage
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.run.outcomes import KeepRemoved
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.remote import Access
from gristmill.remote_store import StorageSettings
from gristmill.tokenize.settings import MixSettings, TokenizerSettings

_NAMING = {
    "classify": ("positives", "negatives", "apply_to"),
    "ngram": ("train_on", "apply_to"),
    "coverage": ("apply_to",),
    "mix": ("proportions", "max_epochs", "weights"),
}


class UnknownSource(ValueError):
    """A section names a source that there is none of; `location` is the place in the recipe."""

    def __init__(self, location: tuple[str, ...], name: str, known: Iterable[str]) -> None:
        self.location = (*location, name)
        super().__init__(
            f"`{'.'.join(location)}` names the source `{name}`, the recipe has {', '.join(known)}"
        )


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecipeSource(SourceSettings):
    """A source, and which of the recipe's text stages it passes through."""

    filter: bool | FilterSettings = Field(
        True, description="true: the recipe's filters; false: none; or filters of its own"
    )
    dedup: bool = Field(True, description="whether its documents are compared with others and can be removed")
    partial: bool = Field(
        False,
        description="take an output folder of gristmill as it is, though steps or shards of it are missing",
    )


class ClassifySettings(_Section):
    """A quality classifier trained on curated against crawled sources, and the sources it decides on."""

    positives: tuple[str, ...] = Field((), description="curated sources")
    negatives: tuple[str, ...] = Field((), description="crawled sources")
    apply_to: tuple[str, ...] = Field(
        (), description="sources whose documents are scored and removed; the negatives when unset"
    )
    classifier: ClassifierSettings = ClassifierSettings()

    @property
    def targets(self) -> tuple[str, ...]:
        return self.apply_to or self.negatives


class NgramSection(_Section):
    """An n-gram language model counted on sources, and the sources whose documents it scores."""

    train_on: tuple[str, ...] = Field((), description="sources to count n-grams of")
    apply_to: tuple[str, ...] = Field(
        (), description="sources whose documents get a perplexity and a bucket, and can be removed"
    )
    path: str | None = Field(None, description="the folder of a model to score with instead of counting one")
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


class CoverageSection(CoverageSettings):
    """Selection by age and domain, and tables of domains, years, languages and lengths, for some sources or
    all."""

    apply_to: tuple[str, ...] = Field((), description="all sources when unset")


class OutputSettings(_Section):
    """How an output on remote storage is reached; nothing here touches its bytes."""

    storage_options: dict[str, Any] = Field(
        default={}, repr=False, description="for fsspec; never shown or stored"
    )
    cache: str | None = Field(
        None,
        description=(
            "a folder of each machine for files on their way; GRISTMILL_CACHE, else one below the temporary"
            " folder"
        ),
    )
    cache_bytes: int = Field(10 << 30, ge=0, description="how much of what was read or written is kept there")
    request_seconds: float = Field(60.0, gt=0, description="deadline of one request (16 MiB at most)")
    request_attempts: int = Field(8, ge=1, description="attempts at one request, over about a minute")

    @field_serializer("storage_options")
    def _redacted(self, value: dict[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(sorted(value), "***")

    def settings(self) -> StorageSettings:
        """What the stores are told; options given on the command line hold where the recipe says nothing."""
        options = {**default_storage().access.options, **self.storage_options}
        return StorageSettings(
            Access(options, self.request_attempts, self.request_seconds), self.cache, self.cache_bytes
        )


class Limits(_Section):
    """How much may be lost before a run counts as failed or as done with losses."""

    failed_fraction: float = Field(
        0.05, ge=0, le=1, description="records that failed, of all read: more means exit code 3"
    )
    quarantined_shards: int = Field(
        0, ge=0, description="shards that may fail on every attempt before a step fails"
    )


class Recipe(_Section):
    """Everything that decides what a run makes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the output folder")
    seed: int = Field(1, ge=0, lt=1 << 63, description="of every draw")
    sources: dict[str, RecipeSource] = Field(min_length=1)
    shard_bytes: int = Field(32 << 20, ge=1, description="stored input bytes per task: 10 to 60 s of work")
    keep_removed: KeepRemoved = Field(
        "text", description="what removed documents keep: text, signals (no text), sample (text of 1 %)"
    )
    extract: ExtractSettings = ExtractSettings()
    filter: FilterSettings | None = None
    dedup: DedupSettings = DedupSettings()
    classify: ClassifySettings | None = None
    ngram: NgramSection | None = None
    coverage: CoverageSection | None = None
    tokenizer: TokenizerSettings | None = None
    mix: MixSettings | None = None
    train: dict[str, Any] | None = Field(None, description="settings of the trainer (docs/trainer.md)")
    engine: EngineSettings = EngineSettings()
    output: OutputSettings = OutputSettings()
    limits: Limits = Limits()

    @field_validator("sources")
    @classmethod
    def _names_of_sources(cls, sources: dict[str, RecipeSource]) -> dict[str, RecipeSource]:
        for name in sources:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"the name of a source may hold letters, digits, - and _, got {name!r}")
        return sources

    @field_validator("train")
    @classmethod
    def _settings_of_the_trainer(cls, train: dict[str, Any] | None) -> dict[str, Any] | None:
        from gristmill.trainer.config import Settings

        if train is not None:
            try:
                Settings.from_dict(train)
            except GristmillError as error:
                raise ValueError(str(error)) from None
        return train

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Self:
        for location, name in self.named_sources():
            if name not in self.sources and not any(self.outputs(source) for source in self.sources.values()):
                raise UnknownSource(location, name, self.sources)
        if self.mix and self.tokenizer is None:
            raise ValueError("`mix` needs a `tokenizer` section")
        if self.train is not None and self.mix is None:
            raise ValueError("`train` needs a `mix` section: it reads the mixed shards")
        return self

    def named_sources(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Yield every source that a section names, with the section and key that do."""
        for section, roles in _NAMING.items():
            for role in roles if getattr(self, section) else ():
                named = getattr(getattr(self, section), role)
                for name in named if isinstance(named, tuple | dict) else ():
                    yield (section, role), name

    @staticmethod
    def outputs(source: RecipeSource) -> list[str]:
        """Those of a source's inputs that are folders written by gristmill, whose sources go by their own
        names."""
        from gristmill.pipeline.stages.adopt import is_output

        return [path for path in source.inputs if is_output(path, source.access())]


StageName = Literal[
    "extract", "filter", "dedup", "classify", "ngram", "coverage", "tokenizer", "encode", "mix", "train"
]
