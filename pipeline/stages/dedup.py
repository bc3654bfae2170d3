"""Deduplication: exact and near duplicates, repeated pieces and substrings, and benchmark items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings, SemanticSettings
from gristmill.dedup.settings.parts import (
    ContainedSettings,
    LineSettings,
    ParagraphSettings,
    PassageSettings,
    PieceSettings,
    SpanSettings,
    SubstringSettings,
)
from gristmill.dedup.settings.stages import DedupSettings
from gristmill.facts import Facts, StepFacts
from gristmill.pipeline.run.libraries import DEDUP, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class ExactSlice(Slice):
    exact: ExactSettings
    keep_removed: KeepRemoved


class FuzzySlice(Slice):
    fuzzy: FuzzySettings
    keep_removed: KeepRemoved


class SemanticSlice(Slice):
    semantic: SemanticSettings
    keep_removed: KeepRemoved


class PiecesSlice(Slice):
    pieces: PieceSettings
    keep_removed: KeepRemoved


class SubstringSlice(Slice):
    substring: SubstringSettings
    keep_removed: KeepRemoved


class PassageSlice(Slice):
    passages: PassageSettings
    keep_removed: KeepRemoved


class ContainedSlice(Slice):
    ngrams: ContainedSettings
    keep_removed: KeepRemoved


class DecontaminateSlice(Slice):
    decontaminate: DecontaminateSettings
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class ExactFacts(StepFacts):
    clusters: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class FuzzyFacts(StepFacts):
    """`bounded` documents stayed although a bound ended their comparisons; `old` tells of the indexes that
    were compared with, `index` is how the step's own was made and `against` what it stands on."""

    clusters: int = 0
    compared: int = 0
    removed: int = 0
    bounded: int = 0
    components: int = 0
    rounds: int = 0
    old: dict[str, Any] | None = None
    index: dict[str, Any] | None = None
    against: list[str] | None = None


@dataclass(frozen=True, slots=True)
class SemanticFacts(StepFacts):
    """Documents that the model is learned from and its clusters; pairs compared, and documents of clusters
    too large to be compared in one piece."""

    clusters: int = 0
    removed: int = 0
    compared: int = 0
    uncompared: int = 0
    learned_from: int = 0
    centroids: int = 0


@dataclass(frozen=True, slots=True)
class IndexFacts(Facts):
    """How an index was made, the indexes it stands on, and the corpus it is of where one was named."""

    index: dict[str, Any]
    against: list[str]
    corpus: str | None = None


@dataclass(frozen=True, slots=True)
class PiecesFacts(StepFacts):
    cut: int = 0


@dataclass(frozen=True, slots=True)
class SubstringFacts(StepFacts):
    repeated_windows: int = 0


@dataclass(frozen=True, slots=True)
class PassageFacts(StepFacts):
    """Seeds of all documents, those whose key is repeated, links between places that share one, chains of
    links that were aligned, and those left out for others of the same place that share more."""

    seeds: int = 0
    repeated_seeds: int = 0
    links: int = 0
    chains: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class ContainedFacts(StepFacts):
    """N-grams of all documents, and those that an earlier place holds."""

    ngrams: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class DecontaminateFacts(StepFacts):
    """Over all benchmarks, and of each: rows read, items taken, texts too short; documents that hold some."""

    rows: int = 0
    items: int = 0
    too_short: int = 0
    shared_ngrams: int = 0
    hits: int = 0
    benchmarks: list[dict[str, Any]] = field(default_factory=list)


_PHASES = "gristmill.pipeline.phases"
_CUTS = ("gristmill.pipeline.report.sections.cuts:cuts_section",)
_REPORT = ("gristmill.pipeline.report.sections.duplicates:duplicates_section",)
EXACT = StageKind(
    "dedup-exact",
    ExactSlice,
    f"{_PHASES}.dedup.exact:exact_stage",
    version=5,
    facts=ExactFacts,
    libraries=(*KERNELS, *DEDUP),
    label="exact dedup",
    books="texts",
    report=_REPORT,
    carries={"cluster_id": "binary", "cluster_size": "int64"},
)
FUZZY = StageKind(
    "dedup-fuzzy",
    FuzzySlice,
    f"{_PHASES}.dedup.fuzzy:fuzzy_stage",
    version=5,
    facts=FuzzyFacts,
    libraries=(*KERNELS, *DEDUP),
    label="near dedup",
    books="texts",
    report=_REPORT,
    carries={"cluster_id": "binary", "cluster_size": "int64"},
)
SEMANTIC = StageKind(
    "dedup-semantic",
    SemanticSlice,
    f"{_PHASES}.dedup.semantic:semantic_stage",
    version=1,
    facts=SemanticFacts,
    libraries=(*KERNELS, *DEDUP),
    label="semantic dedup",
    books="texts",
    report=_REPORT,
    carries={"cluster_id": "binary", "cluster_size": "int64"},
)
PIECES = StageKind(
    "dedup-pieces",
    PiecesSlice,
    f"{_PHASES}.dedup.pieces:pieces_stage",
    version=3,
    facts=PiecesFacts,
    libraries=(*KERNELS, *DEDUP),
    label="pieces cut",
    books="texts",
    report=_CUTS,
)
SUBSTRING = StageKind(
    "dedup-substring",
    SubstringSlice,
    f"{_PHASES}.dedup.substring:substring_stage",
    version=3,
    facts=SubstringFacts,
    libraries=(*KERNELS, *DEDUP),
    label="substrings cut",
    books="texts",
    report=_CUTS,
)
PASSAGES = StageKind(
    "dedup-passages",
    PassageSlice,
    f"{_PHASES}.dedup.passages:passages_stage",
    version=1,
    facts=PassageFacts,
    libraries=(*KERNELS, *DEDUP),
    label="passages cut",
    books="texts",
    report=_CUTS,
)
CONTAINED = StageKind(
    "dedup-ngrams",
    ContainedSlice,
    f"{_PHASES}.dedup.contained:contained_stage",
    version=1,
    libraries=(*KERNELS, *DEDUP),
    label="n-grams cut",
    books="texts",
    report=_CUTS,
    facts=ContainedFacts,
)
DECONTAMINATE = StageKind(
    "dedup-decontaminate",
    DecontaminateSlice,
    f"{_PHASES}.dedup.decontaminate:decontaminate_stage",
    version=3,
    facts=DecontaminateFacts,
    libraries=(*KERNELS, *DEDUP),
    label="decontaminated",
    books="texts",
    report=("gristmill.pipeline.report.sections.contamination:contamination_section",),
)
# Which step a part of the section makes, and the field of its slice that holds the part's settings.
_KINDS: dict[type[BaseModel], tuple[StageKind, str]] = {
    ExactSettings: (EXACT, "exact"),
    FuzzySettings: (FUZZY, "fuzzy"),
    SemanticSettings: (SEMANTIC, "semantic"),
    LineSettings: (PIECES, "pieces"),
    ParagraphSettings: (PIECES, "pieces"),
    SpanSettings: (PIECES, "pieces"),
    SubstringSettings: (SUBSTRING, "substring"),
    PassageSettings: (PASSAGES, "passages"),
    ContainedSettings: (CONTAINED, "ngrams"),
    DecontaminateSettings: (DECONTAMINATE, "decontaminate"),
}


def plan(making: Making, settings: DedupSettings) -> None:
    """One step over all sources together for each part of the section, in its order."""
    recipe = making.recipe
    untouched = tuple(name for name, source in recipe.sources.items() if not source.dedup)
    sources = tuple(name for name in making.last if name not in untouched)
    for name, part in settings.stages.items() if sources else ():
        kind, field = _KINDS[type(part)]
        for key, column in _columns(part):
            making.check_column(column, sources, ("dedup", name, key))
        piece = kind.slice.model_validate({field: part, "keep_removed": recipe.keep_removed})
        external, carried = _external(part)
        inputs = making.inputs(sources)
        step = making.add(f"dedup-{name}", kind, piece, inputs, external, **carried)
        making.last.update(dict.fromkeys(sources, step))


def _columns(part: BaseModel) -> Iterator[tuple[str, str]]:
    """The columns of documents that a part goes by, each with the key that names it."""
    scope, survivor = (getattr(part, key, "") for key in ("scope", "survivor"))
    if scope not in ("", "all"):
        yield "scope", scope
    if survivor.startswith("best:"):
        yield "survivor", survivor.removeprefix("best:")
    if column := getattr(part, "snapshot_column", None):
        yield "snapshot_column", column


def _external(part: BaseModel) -> tuple[dict[str, str], dict[str, Any]]:
    """Digests of the indexes and benchmarks that a part compares with, and which indexes these are."""
    if isinstance(part, FuzzySettings) and part.against:
        from gristmill.pipeline.phases.dedup.index import index_digest, planned_indexes

        against = planned_indexes(part)
        return index_digest(against), {"against": against}
    if isinstance(part, DecontaminateSettings):
        from gristmill.pipeline.phases.dedup.decontaminate import benchmark_digests

        return benchmark_digests(part), {}
    return {}, {}


SECTIONS = (
    Section(
        "dedup",
        DedupSettings,
        plan,
        order=30,
        kinds=(EXACT, FUZZY, SEMANTIC, PIECES, CONTAINED, SUBSTRING, PASSAGES, DECONTAMINATE),
        default=DedupSettings(),
        listed=True,
    ),
)
