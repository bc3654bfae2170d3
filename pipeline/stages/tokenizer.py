"""Tokens: a tokenizer is trained or taken by path, and every source that is mixed is encoded once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.pins import digest_named
from gristmill.pipeline.run.libraries import KERNELS, TOKENIZERS
from gristmill.pipeline.run.stage import Section, Slice, StageKind
from gristmill.tokenize.ending import CONFIGURATION
from gristmill.tokenize.settings import MixSettings, TokenizerSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class TokenizerSlice(Slice):
    tokenizer: TokenizerSettings
    sources: tuple[str, ...]
    proportions: dict[str, float]
    heldout_fraction: float


class EncodeSlice(Slice):
    source: str
    tokenizer: TokenizerSettings


TOKENIZER = StageKind(
    "tokenizer",
    TokenizerSlice,
    "gristmill.pipeline.phases.tokenizer:train",
    version=5,
    libraries=(*KERNELS, *TOKENIZERS),
    report=("gristmill.pipeline.report.mixture:tokenizer_section",),
)
ENCODE = StageKind(
    "encode",
    EncodeSlice,
    "gristmill.pipeline.phases.encode:encode",
    version=2,
    libraries=(*KERNELS, *TOKENIZERS),
    label="encoded",
    books="tokens",
    report=("gristmill.pipeline.report.mixture:tokenizer_section",),
)


def plan(making: Making, settings: TokenizerSettings | None) -> None:
    """One step over the sources that are mixed."""
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
    making.add("tokenizer", TOKENIZER, piece, making.inputs(sources), external, keeps)


def plan_encode(making: Making, _: None) -> None:
    """One step a source."""
    settings = making.recipe.section(TokenizerSettings)
    for source in making.mixed_sources if settings else ():
        piece = EncodeSlice(source=source, tokenizer=settings)
        making.add(f"encode/{source}", ENCODE, piece, (making.last[source], "tokenizer"))


SECTIONS = (
    Section("tokenizer", TokenizerSettings, plan, order=80, kinds=(TOKENIZER,)),
    Section("encode", None, plan_encode, order=90, kinds=(ENCODE,)),
)
