"""Tokens: a tokenizer is trained or taken by path, and every source that is mixed is encoded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.facts import StepFacts
from gristmill.pins import digest_named
from gristmill.pipeline.run.libraries import KERNELS, TOKENIZERS
from gristmill.pipeline.run.stage import Section, Slice, StageKind
from gristmill.tokenize.encoding.ending import CONFIGURATION
from gristmill.tokenize.settings import MixSettings, TokenizerSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class TokenizerSlice(Slice):
    tokenizer: TokenizerSettings
    sources: tuple[str, ...]
    proportions: dict[str, float]
    heldout_fraction: float


class TokenizerReportSlice(Slice):
    tokenizer: TokenizerSettings
    sources: tuple[str, ...]


class EncodeSlice(Slice):
    source: str
    tokenizer: TokenizerSettings


@dataclass(frozen=True, slots=True)
class TokenizerFacts(StepFacts):
    """What the tokenizer's file is and how a copy of it is opened; for one that was trained, the bytes of
    each source that it learned from, and sources that had too few: what they have and what was asked."""

    file: str = ""
    kind: str = ""
    vocab: int = 0
    eos_id: int | None = None
    eos: str | None = None
    eos_found: str | None = None
    encoding: str | None = None
    sha256: str = ""
    sampled_bytes: dict[str, int] = field(default_factory=dict)
    sample_missed: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncodeFacts(StepFacts):
    """Documents encoded with their tokens and bytes; those that no encoder takes, and those that went to the
    tokenizer's own library; losses of a sample by kind; the encoders, and why the reference's was one."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    failed: int = 0
    by_reference: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    lossy: int = 0
    encoders: list[str] = field(default_factory=list)
    encoders_why: list[str] = field(default_factory=list)
    cells: dict[str, dict[str, list[int]]] | None = None


TOKENIZER = StageKind(
    "tokenizer",
    TokenizerSlice,
    "gristmill.pipeline.phases.tokenizer:train",
    version=8,
    facts=TokenizerFacts,
    libraries=(*KERNELS, *TOKENIZERS),
    report=("gristmill.pipeline.report.sections.mixture:tokenizer_section",),
)
REPORT = StageKind(
    "tokenizer-report",
    TokenizerReportSlice,
    "gristmill.pipeline.phases.tokenizer_report:report",
    version=1,
    libraries=(*KERNELS, *TOKENIZERS),
)
ENCODE = StageKind(
    "encode",
    EncodeSlice,
    "gristmill.pipeline.phases.encode:encode",
    version=4,
    facts=EncodeFacts,
    libraries=(*KERNELS, *TOKENIZERS),
    label="encoded",
    books="tokens",
    report=("gristmill.pipeline.report.sections.mixture:tokenizer_section",),
)


def plan(making: Making, settings: TokenizerSettings | None) -> None:
    """One step over the sources that are mixed, and one that tells what the tokenizer makes of them; a
    tokenizer by path waits for no documents."""
    if settings is None:
        return
    sources, mix = making.mixed_sources, making.recipe.section(MixSettings)
    trained = settings.path is None  # one by path is what it is, whatever the mixture
    piece = TokenizerSlice(
        tokenizer=settings,
        sources=sources,
        proportions=dict(mix.proportions) if mix and trained else {},
        heldout_fraction=making.heldout_fraction if trained else 0.0,
    )
    external = {"tokenizer": digest_named(settings.path, "tokenizer.path")} if settings.path else {}
    beside = (Path(settings.path).with_name(name) for name in CONFIGURATION) if settings.path else ()
    external |= {path.name: digest_named(str(path), "tokenizer.path") for path in beside if path.is_file()}
    keeps = ("tokenizer",) if settings.freeze else ()
    documents = making.inputs(sources)
    making.add("tokenizer", TOKENIZER, piece, documents if trained else (), external, keeps)
    told = TokenizerReportSlice(tokenizer=settings, sources=sources)
    making.add("tokenizer-report", REPORT, told, (*documents, "tokenizer"))


def plan_encode(making: Making, _: None) -> None:
    """One step a source."""
    settings = making.recipe.section(TokenizerSettings)
    for source in making.mixed_sources if settings else ():
        piece = EncodeSlice(source=source, tokenizer=settings)
        making.add(f"encode/{source}", ENCODE, piece, (making.last[source], "tokenizer"))


SECTIONS = (
    Section("tokenizer", TokenizerSettings, plan, order=80, kinds=(TOKENIZER, REPORT)),
    Section("encode", None, plan_encode, order=90, kinds=(ENCODE,)),
)
