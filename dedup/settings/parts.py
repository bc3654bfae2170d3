"""What parts of documents that come again can be asked for: lines to passages, with published defaults."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gristmill.dedup.settings.documents import Settings


class _Pieces(Settings):
    """What line, paragraph and span deduplication share: all but one occurrence of a piece is cut out, over
    all documents."""

    scope: str = Field(
        "all", min_length=1, description="compare within: `all`, `source`, or the name of any column"
    )
    min_pieces: int = Field(1, ge=0, description="a document left with fewer pieces is removed")
    min_characters: int = Field(0, ge=0, description="a document left with fewer characters is removed")
    min_words: int = Field(
        0, ge=0, description="a document left with fewer words (between blanks) is removed"
    )
    min_sentences: int = Field(0, ge=0, description="a document left with fewer sentences is removed")


class LineSettings(_Pieces):
    """C4 as its code runs (tensorflow_datasets): a line stays on the page with the smallest md5 of its
    URL."""

    unit: Literal["line"] = Field("line", description="what is compared")
    min_sentences: int = Field(3, ge=0, description="C4: a page left with fewer than 3 sentences is removed")


class ParagraphSettings(_Pieces):
    """CCNet: paragraphs (the text between line ends) compared lower-cased, without punctuation and western
    accents, digits as 0."""

    unit: Literal["paragraph"] = Field("paragraph", description="what is compared")
    normalise: Literal["ccnet-paper", "ccnet-code"] = Field(
        "ccnet-paper",
        description=(
            "ccnet-paper: no accents of western letters, no punctuation; ccnet-code: cc_net's"
            " normalize_for_dedup, which strips no accents and leaves ASCII punctuation"
        ),
    )


class SpanSettings(_Pieces):
    """C4 as its paper says: any three-sentence span that occurs more than once is discarded, all but one."""

    unit: Literal["span"] = Field("span", description="what is compared")
    sentences: int = Field(3, ge=1, le=20, description="sentences per span")
    min_words: int = Field(50, ge=0, description="datatrove's sentence_dedup: 50")
    min_sentences: int = Field(3, ge=0, description="datatrove's sentence_dedup: 3")


PieceSettings = LineSettings | ParagraphSettings | SpanSettings


class SubstringSettings(Settings):
    """Exact substrings (Lee et al. 2022, RefinedWeb's last stage): text that occurred before, in the order of
    ids, is cut."""

    min_tokens: int = Field(
        50, ge=2, description="whole words in a row that must repeat (RefinedWeb, Lee et al.: 50 tokens)"
    )
    min_bytes: int | None = Field(
        None, ge=10, description="bytes that must repeat, instead of words (Dolma 3: 500)"
    )
    min_characters: int = Field(
        1, ge=0, description="a document left with fewer characters, ends cut, is removed"
    )


class PassageSettings(Settings):
    """Fuzzy substrings (Olmo 3's last stage): passages that occurred before, in the order of ids, but for a
    few changed words, are cut."""

    min_bytes: int = Field(500, ge=50, description="bytes of a passage that must recur (Olmo 3: 500)")
    max_edit_fraction: float = Field(
        0.2,
        gt=0,
        le=0.5,
        description="a smaller share of a passage's words is replaced, inserted or deleted",
    )
    max_gap_words: int = Field(
        8, ge=1, le=64, description="so many changed words in a row, net of equal ones, end a passage"
    )
    max_links: int = Field(
        3,
        ge=1,
        le=64,
        description="earlier documents that a place is linked to by one seed, first ones first",
    )
    max_sources: int = Field(
        4, ge=1, le=64, description="earlier passages that one is compared with, those that share most first"
    )
    scope: str = Field(
        "all", min_length=1, description="compare within: `all`, `source`, or the name of any column"
    )
    min_characters: int = Field(
        1, ge=0, description="a document left with fewer characters, ends cut, is removed"
    )
    memory_bytes: int = Field(
        1_000_000_000, ge=1 << 24, description="what no task holds of seeds, links and words"
    )


class ContainedSettings(Settings):
    """DCLM's Bloom filter of n-grams (BFF, `--remove-type old-both`), exactly: paragraphs, and documents,
    most of whose n-grams earlier documents hold."""

    ngram: int = Field(13, ge=1, le=64, description="words; DCLM-Baseline: 13 of Unicode's words")
    min_words: int = Field(
        13,
        ge=1,
        description="a paragraph of fewer words is never cut; one shorter than `ngram` is one n-gram",
    )
    threshold: float = Field(
        0.8, ge=0, le=1, description="a larger share of n-grams held is a duplicate; DCLM-Baseline: 0.8"
    )
    remove: Literal["both", "paragraph", "document"] = Field(
        "both", description="both: BFF's old-both; or paragraphs alone, or documents alone"
    )
    scope: str = Field(
        "all", min_length=1, description="compare within: `all`, `source`, or the name of any column"
    )
    min_characters: int = Field(1, ge=0, description="a document left with fewer characters is removed")

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.min_words > self.ngram:
            raise ValueError(f"`min_words` must be at most `ngram` ({self.ngram}), got {self.min_words}")
        return self
