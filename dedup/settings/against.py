"""What overlap with benchmarks and held-out documents can be asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gristmill.dedup.settings.documents import Settings

BenchmarkLayout = Literal[
    "auto", "strings", "mmlu", "arc", "hellaswag", "gsm8k", "humaneval", "lambada", "boolq", "piqa",
    "winogrande",
]  # fmt: skip


class DecontaminateSettings(Settings):
    """Overlap with benchmarks: documents that hold an n-gram of a benchmark item are removed or cut."""

    benchmarks: tuple[str, ...] = Field(
        (), description="JSON lines; each string that `layout` or `fields` names is one item"
    )
    layout: BenchmarkLayout = Field(
        "auto", description="how rows are laid out; auto: the known one that fits, else every string"
    )
    fields: tuple[str, ...] = Field(
        (), description="which fields of a row hold text, those of inner objects as `choices.text`"
    )
    ngram: int = Field(
        13,
        ge=2,
        le=64,
        description=(
            "words (GPT-3, appendix C: 13; shorter items: 8 to 12, all their words); where no spaces are"
            " written, 2 characters of Han and Kana, 4 of Thai, Lao and Khmer carry as much as one"
        ),
    )
    min_words: int = Field(8, ge=2, description="items of fewer words are not looked for (GPT-3: 8)")
    min_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of an item's words that found n-grams must cover (Marin: 0.5); 0: any n-gram",
    )
    action: Literal["remove", "cut"] = Field(
        "remove", description="cut: GPT-3's way, the n-gram and a window around it"
    )
    window_bytes: int = Field(
        200, ge=0, description="cut on either side of a found n-gram, in whole words (GPT-3: 200 characters)"
    )
    min_piece_characters: int = Field(
        200, ge=0, description="what is left between cuts must be as long (GPT-3: 200)"
    )
    max_pieces: int = Field(10, ge=1, description="a document cut into more pieces is removed (GPT-3: 10)")


class HeldoutSettings(Settings):
    """Held-out documents that share most of their word n-grams with one other document: containment, which
    likeness by Jaccard misses."""

    decontaminate: Literal["count", "move"] = Field(
        "count",
        description=(
            "count: list those that lie in a document of training; move: they are trained on, with all that"
            " is held out with them"
        ),
    )
    ngram: int = Field(5, ge=1, le=64, description="words; a shorter text counts as one n-gram")
    min_share: float = Field(
        0.5, gt=0, le=1, description="share of the held-out document's n-grams that the other must have"
    )
