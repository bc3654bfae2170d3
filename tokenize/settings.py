"""What tokenizers, mixtures and shards can be asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gristmill.tokenize.mixing.size_weights import MOST_COPIES, TABLES, TableName, checked_table

SUM_TOLERANCE = 1e-6
# The columns that the index of encoded documents has of each, so that none of the rows' goes by these names.
_INDEXED = ("id", "unit", "tokens", "bytes")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenizerSettings(_Settings):
    """A tokenizer trained on the corpus (SentencePiece BPE or byte-level BPE), or one by path."""

    kind: Literal["sentencepiece", "byte-bpe"] = Field(
        default="sentencepiece",
        description="what is trained: a .model with byte fallback, or a tokenizer.json of byte-level BPE",
    )

    path: str | None = Field(
        default=None,
        description=(
            "a tokenizer to use: .model (SentencePiece), tokenizer.json (Hugging Face), .tiktoken (with"
            " `pattern`)"
        ),
    )
    # Whether a trained one is kept is no part of what is trained: left out of dumps, and so of identities.
    freeze: bool = Field(
        default=False,
        exclude=True,
        description=(
            "keep the tokenizer that this output folder holds, though documents or proportions have changed"
            " since it was trained; other settings of it train it anew"
        ),
    )
    eos: int | str | None = Field(
        default=None,
        description=(
            "the token that ends a document, by spelling or id; unset: as the file, its configuration or its"
            " publisher has it"
        ),
    )
    encoding: Literal["r50k_base", "p50k_base", "cl100k_base", "o200k_base", "llama3", "qwen"] | None = Field(
        default=None,
        description="the published encoding of a .tiktoken file; unset: known by digest, name or size",
    )
    pattern: str | None = Field(
        default=None,
        description=(
            "the split pattern of a .tiktoken file or of a byte-bpe, a regular expression or gpt2, cl100k,"
            " llama3, qwen, o200k; unset: the published one, else GPT-2's"
        ),
    )
    text_tokens: tuple[str, ...] = Field(
        default=(),
        description="added tokens that text may spell besides white space, such as Gemma's <table>",
    )
    vocab_size: int = Field(
        default=32_000,
        ge=300,
        le=1 << 20,
        description="LLaMA: 32,000; rounded up to a multiple of 64, byte pieces and specials counted",
    )
    sample_bytes: int = Field(
        default=200_000_000,
        ge=1000,
        description="text to train on, in the mixture's proportions; more hardly changes the pieces",
    )
    special_tokens: tuple[str, ...] = Field(
        default=(), description="further tokens, such as <|user|>, that no text spells"
    )
    max_piece_chars: int = Field(default=16, ge=1, le=64, description="SentencePiece's default")
    character_coverage: float = Field(
        default=0.9995, gt=0, le=1, description="SentencePiece's default; what is rarer becomes bytes"
    )


class SizeWeight(_Settings):
    """A weight by the size of a document's cluster, through a table."""

    column: str = Field(default="cluster_size", description="the numeric column that holds the size")
    table: TableName | Annotated[dict[int, float], AfterValidator(checked_table)] = Field(
        default="linear",
        description=(
            "linear: the size itself; txt360 and fineweb-2: the weights of these corpora; or your own, from"
            " the least size of a class to its weight, as {1: 1, 2: 3, 6: 5}"
        ),
    )

    def classes(self) -> Mapping[int, float] | None:
        """Return the table's classes, by least size; None where the size itself is the weight."""
        if isinstance(self.table, str):
            return TABLES.get(self.table)
        return self.table


class CellWeight(_Settings):
    """Weights by quality bucket, within each topic where documents have one: how often a cell is taken."""

    curve: Literal["olmo-3"] | dict[int, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        description=(
            "olmo-3: Olmo 3's upsampling curve for each topic; or your own steps, from the lowest bucket of"
            " a step to how often it is taken compared with others, as {8: 1, 19: 7}; lower ones are left out"
        )
    )
    topics: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={},
        description=(
            "shares of the source's tokens by topic, compared with each other; other topics are left out; all"
            " topics as they are when unset"
        ),
    )
    discard: float = Field(
        default=0.4,
        ge=0,
        lt=1,
        description="of olmo-3: lowest share of a topic's tokens, of which whole buckets are left out",
    )
    most: float = Field(
        default=7.0, gt=0, le=MOST_COPIES, description="the most often a bucket's documents are taken"
    )

    @model_validator(mode="after")
    def _takes_something(self) -> Self:
        if isinstance(self.curve, dict) and not any(self.curve.values()):
            raise ValueError("a curve needs a bucket that is taken, such as {8: 1, 19: 7}")
        return self

    def factor(self, bucket: int) -> float:
        """How often a bucket is taken by the steps of one's own, compared with others."""
        steps = self.curve if isinstance(self.curve, dict) else {}
        return max(((step, factor) for step, factor in steps.items() if step <= bucket), default=(0, 0.0))[1]


def normalised(shares: Mapping[str, float]) -> dict[str, float]:
    """Divide shares by their sum, which may be larger than a float can be."""
    total = sum(shares.values())
    if math.isinf(total):
        return normalised({name: share / len(shares) for name, share in shares.items()})
    total = math.fsum(shares.values())
    return {name: share / total for name, share in shares.items()}


class MixSettings(_Settings):
    """Proportions, a budget, and the shards that are written."""

    proportions: dict[str, float] = Field(
        default={}, description="share of tokens per source, by name; must sum to 1"
    )
    normalise: bool = Field(default=False, description="divide proportions that do not sum to 1 by their sum")
    method: Literal["given", "natural", "temperature", "unimax"] = Field(
        default="given",
        description=(
            "natural: by size; temperature: size^(1/temperature) (mT5: 1/0.3); unimax: even, within"
            " max_epochs"
        ),
    )
    temperature: float = Field(
        default=1 / 0.3, gt=0, description="mT5 samples in proportion to size^0.3 (Xue et al. 2021)"
    )
    tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens to write; unset: as many as no source repeats for, or as all hold when `natural`",
    )
    max_epochs: float | dict[str, float] = Field(
        default=4.0,
        description=(
            "how often a source may repeat: up to 4 is nearly as good as new text (Muennighoff et al. 2023)"
        ),
    )
    weights: dict[str, str | SizeWeight | CellWeight] = Field(
        default={},
        description=(
            "per source, the numeric column that weights its documents, such as quality_score or cluster_size"
            ", or {column: cluster_size, table: txt360}, table being linear, txt360, fineweb-2, or your own"
            " such as {1: 1, 2: 3, 6: 5}, or {curve: olmo-3} over topics and quality buckets"
        ),
    )
    weight_copies: int = Field(
        default=4,
        ge=1,
        le=MOST_COPIES,
        description=(
            "the most often a weighted document may be repeated; with a table, its highest weight is that"
        ),
    )
    split_documents: bool = Field(
        default=True,
        description=(
            "take the beginning of the document at which a source's tokens end, so that they are exact; off:"
            " whole documents only, and the source falls short by less than one"
        ),
    )
    heldout_fraction: float = Field(
        default=0.005, ge=0, lt=1, description="share of documents (or clusters) kept for evaluation only"
    )
    shard_tokens: int = Field(
        default=1 << 26, ge=1, description="tokens per shard, on average; a task holds one in memory"
    )
    kind: Literal["mixed", "sources"] = Field(
        default="mixed",
        description=(
            "mixed: epochs written out, shuffled over all; sources: each once, the trainer blends by weight"
        ),
    )

    @model_validator(mode="after")
    def _proportions_are_a_whole(self) -> Self:
        for name, value in self.proportions.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"the proportion of `{name}` must be above 0, got {value:g}; leave the source out instead"
                )
        total = sum(self.proportions.values())  # infinite where fsum would raise
        if (
            self.method == "given"
            and self.proportions
            and not self.normalise
            and abs(total - 1) > SUM_TOLERANCE
        ):
            scaled = ", ".join(f"{name}: {share:.6g}" for name, share in normalised(self.proportions).items())
            raise ValueError(
                f"proportions sum to {total:.9g}, not 1; set `normalise: true` to use {{{scaled}}}"
            )
        caps = self.max_epochs if isinstance(self.max_epochs, dict) else {"": self.max_epochs}
        for name, cap in caps.items():
            if not (math.isfinite(cap) and cap > 0):
                raise ValueError(
                    f"`max_epochs`{f' of `{name}`' if name else ''} must be a number above 0, got {cap:g}"
                )
        for name in self.weights:
            weight = self.weight_of(name)
            if isinstance(weight, SizeWeight) and weight.column in _INDEXED:
                raise ValueError(
                    f"`weights.{name}` names `{weight.column}`, which the index of encoded documents has of"
                    " its own: a column of the rows needs another name to weigh them"
                )
        curved = [name for name in self.weights if isinstance(self.weight_of(name), CellWeight)]
        if curved and self.kind == "sources":
            raise ValueError(
                f"`weights.{curved[0]}` has a curve, and shards of kind `sources` hold every document once;"
                " write them as `kind: mixed`"
            )
        return self

    def epochs_cap(self, source: str) -> float:
        """The most epochs a source may be seen for."""
        if isinstance(self.max_epochs, dict):
            return self.max_epochs.get(source, 4.0)
        return self.max_epochs

    def weight_of(self, source: str) -> SizeWeight | CellWeight | None:
        """Return what weights a source's documents, None for one without weights."""
        weight = self.weights.get(source)
        return SizeWeight(column=weight) if isinstance(weight, str) else weight

    def copies_of(self, source: str) -> int:
        """Return how often a weighted source's documents may be repeated: the highest weight of its table."""
        weight = self.weight_of(source)
        if isinstance(weight, CellWeight):
            return math.ceil(weight.most)
        classes = weight.classes() if weight else None
        return math.ceil(max(classes.values())) if classes else self.weight_copies
