"""The stages of deduplication that a recipe can ask for, in the order they run."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, field_validator

from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.dedup.settings.documents import ExactSettings, Settings
from gristmill.dedup.settings.near import FuzzySettings, SemanticSettings
from gristmill.dedup.settings.parts import (
    ContainedSettings,
    LineSettings,
    ParagraphSettings,
    PassageSettings,
    SpanSettings,
    SubstringSettings,
)


class DedupSettings(Settings):
    """A recipe's stages of deduplication, in the order they run; one that is left out does not run."""

    url: ExactSettings | None = Field(
        None, description="whole documents by normalised URL, keeping the newest"
    )
    exact: ExactSettings | None = Field(None, description="whole documents by normalised text")
    fuzzy: FuzzySettings | None = Field(None, description="near duplicates by MinHash, verified")
    semantic: SemanticSettings | None = Field(
        None, description="near duplicates by vectors of their words; off by default"
    )
    lines: LineSettings | None = Field(None, description="lines, as C4's code does")
    paragraphs: ParagraphSettings | None = Field(None, description="paragraphs, as CCNet does")
    spans: SpanSettings | None = Field(None, description="spans of three sentences, as C4's paper says")

    ngrams: ContainedSettings | None = Field(
        None, description="paragraphs and documents of n-grams seen before, as DCLM's Bloom filter does"
    )
    substring: SubstringSettings | None = Field(
        None, description="substrings of 50 words and more; off by default"
    )
    passages: PassageSettings | None = Field(
        None, description="passages of 500 bytes and more, but for small changes; off by default"
    )
    decontaminate: DecontaminateSettings | None = Field(None, description="overlap with benchmark files")

    @field_validator("url", mode="before")
    @classmethod
    def _by_url(cls, values: object) -> object:
        return {"key": "url", **values} if isinstance(values, dict) else values

    def part(self, name: str) -> Self:
        """These settings with one of their stages only."""
        return type(self)(**{name: getattr(self, name)})

    @property
    def stages(self) -> dict[str, BaseModel]:
        """The stages asked for by name, in the order they run."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None
        }
