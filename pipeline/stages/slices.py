"""The part of a recipe that each step depends on: what is not in a step's slice cannot make it stale."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from gristmill.classifiers.settings import BucketSettings, ClassifierSettings, CoverageSettings, NgramSettings
from gristmill.dedup.settings import (
    DecontaminateSettings,
    ExactSettings,
    FuzzySettings,
    PieceSettings,
    SubstringSettings,
)
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.run.outcomes import KeepRemoved
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.tokenize.settings import MixSettings, TokenizerSettings


class _Slice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExtractSlice(_Slice):
    source: str
    inputs: SourceSettings
    extract: ExtractSettings
    shard_bytes: int
    only: tuple[tuple[int, ...], ...] | None = (
        None  # for each task the numbers of the shards it reads; a preflight's sample
    )
    keep_removed: KeepRemoved


class AdoptSlice(_Slice):
    """Documents that gristmill wrote before: taken as they are, with their ids and origins."""

    source: str
    folder: str


class FilterSlice(_Slice):
    source: str
    filter: FilterSettings
    keep_removed: KeepRemoved


class RecutSlice(_Slice):
    """A finished filter step decided anew: the folders of that step and of the one it read."""

    source: str
    folder: str
    documents: str
    before: FilterSettings
    filter: FilterSettings
    keep_removed: KeepRemoved


class ExactSlice(_Slice):
    exact: ExactSettings
    keep_removed: KeepRemoved


class FuzzySlice(_Slice):
    fuzzy: FuzzySettings
    keep_removed: KeepRemoved


class PiecesSlice(_Slice):
    pieces: PieceSettings
    keep_removed: KeepRemoved


class SubstringSlice(_Slice):
    substring: SubstringSettings
    keep_removed: KeepRemoved


class DecontaminateSlice(_Slice):
    decontaminate: DecontaminateSettings
    keep_removed: KeepRemoved


class ClassifyTrainSlice(_Slice):
    classifier: ClassifierSettings
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    heldout_fraction: float


class ClassifyScoreSlice(_Slice):
    source: str
    classifier: ClassifierSettings
    keep_removed: KeepRemoved


class NgramTrainSlice(_Slice):
    model: NgramSettings
    sources: tuple[str, ...]
    heldout_fraction: float


class NgramScoreSlice(_Slice):
    source: str
    path: str | None
    buckets: BucketSettings
    keep_removed: KeepRemoved


class NgramHeldoutSlice(_Slice):
    sources: tuple[str, ...]
    heldout_fraction: float


class CoverageSlice(_Slice):
    source: str
    coverage: CoverageSettings
    keep_removed: KeepRemoved


class TokenizerSlice(_Slice):
    tokenizer: TokenizerSettings
    sources: tuple[str, ...]
    proportions: dict[str, float]
    heldout_fraction: float


class EncodeSlice(_Slice):
    source: str
    tokenizer: TokenizerSettings


class MixSlice(_Slice):
    mix: MixSettings
    tokenizer: TokenizerSettings


class TrainSlice(_Slice):
    train: dict[str, Any]
