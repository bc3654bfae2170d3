"""What the quality classifier can be asked for, with published values as defaults."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pareto(_Settings):
    """Keep mostly what scores high, and some of everything: keep iff u(seed, id) < (2 - score)^-alpha."""

    rule: Literal["pareto"] = Field("pareto", description="keep by GPT-3's draw")
    alpha: Annotated[float, Field(gt=0)] | Literal["fit"] = Field(
        default=9.0,
        description=(
            "GPT-3 appendix A: 9; The Pile and NeMo Curator: 3; `fit` matches the positives' scores, as GPT-3"
            " chose its 9"
        ),
    )


class Threshold(_Settings):
    """Keep what scores at least `score`."""

    rule: Literal["threshold"] = Field(description="keep what scores at least a bound")
    score: float = Field(
        default=0.5, description="0.5 is the even odds of a calibrated score; DCLM's own model: 0.018112"
    )


class TopFraction(_Settings):
    """Keep this share of a source's documents, the best by score, exactly; ties go by hash."""

    rule: Literal["top_fraction"] = Field(description="keep the best share")
    fraction: float = Field(default=0.1, gt=0, le=1, description="DCLM keeps the top 10 %")


Keep = Annotated[Pareto | Threshold | TopFraction, Field(discriminator="rule")]
Preparation = Literal["spaces", "folded", "lines"]
Window = Literal["head", "middle", "tail", "pile", "whole"]


class ClassifierSettings(_Settings):
    """A fastText classifier, trained on curated against crawled text or given by path, and what it keeps."""

    model: str | None = Field(
        default=None, description="a fastText model to score with instead of training one"
    )
    label_weights: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None,
        description=(
            "score = sum of weight x probability over labels of `model`, in [0, 1]; {__label__hq: 1} when it"
            " has that label"
        ),
    )
    by: Literal["language"] | None = Field(
        default=None,
        description=(
            "language: a model for each language of which both classes have `min_language_passages`, beside"
            " the one of all languages, which scores the others"
        ),
    )
    min_language_passages: int = Field(
        default=200,
        ge=10,
        description=(
            "training passages of each class that teach a language: fewer, and its documents are scored with"
            " a warning"
        ),
    )
    min_known_words: int = Field(
        default=10,
        ge=0,
        description=(
            "words with a letter that the model knows, one cased letter alone left out, repeated ones no more"
            " than thrice as many as differ; a text with fewer has no score: fastText's would come from the"
            " line end, from hash collisions and from one word said again"
        ),
    )
    min_known_fraction: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="known ones, repeated or not, as a share of the text's words with a letter",
    )
    too_little: Literal["remove", "keep"] = Field(
        default="remove", description="documents without a score go by rule `classify.too_little`, or stay"
    )
    prepare: Preparation = Field(
        default="folded",
        description=(
            "spaces: white space runs become one blank (most published models); folded: also lower-case, as"
            " GPT-3's Spark Tokenizer, and each Han, Kana, Thai, Lao, Khmer code point a word; lines:"
            " stripped, line ends to blanks (DCLM)"
        ),
    )
    window: Window = Field(
        default="head",
        description=(
            "which characters of a long text are scored: head, middle, tail, whole, or pile:"
            " text[:4000][-1500:]"
        ),
    )
    window_chars: int = Field(default=4000, ge=100, description="characters scored of a text")
    passage_chars: int = Field(
        default=1000,
        ge=100,
        description="length of training passages: fastText divides a gradient by the words of its line",
    )
    examples: int = Field(
        default=100_000,
        ge=1,
        description="training passages per class at most, in equal parts from its sources",
    )
    heldout_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share kept from training, by domain: half calibrates, the other half is reported on",
    )
    features: Literal["fasttext", "hashing_tf"] = Field(
        default="fasttext",
        description=(
            "what is trained: a fastText model; or GPT-3's, term frequencies hashed as Spark does and"
            " logistic regression"
        ),
    )
    num_features: int = Field(
        default=1 << 18, ge=1 << 8, le=1 << 26, description="of `hashing_tf`; Spark's default: 262,144"
    )
    dim: int = Field(default=16, ge=1, description="length of the vectors; two classes need few")
    epoch: int = Field(default=5, ge=1, description="passes over the passages (fastText's default)")
    learning_rate: float = Field(
        default=0.5,
        gt=0,
        description=(
            "fastText's tutorial: 0.1 to 1; its default 0.1 hardly moves on lines as long as passages"
        ),
    )
    word_ngrams: int = Field(default=2, ge=1, le=5, description="DCLM's classifier uses 2")
    buckets: int = Field(default=200_000, ge=1, description="hash buckets of word n-grams")
    min_count: int = Field(default=5, ge=1, description="words rarer than this are unknown")
    calibration: Literal["platt", "isotonic", "none"] = Field(
        default="platt",
        description=(
            "from fastText's output to a probability; platt keeps every difference, isotonic makes steps"
        ),
    )
    keep: Keep = Pareto()


class NgramSettings(_Settings):
    """An n-gram language model of words, by Stupid Backoff (Brants et al. 2007) or Kneser and Ney."""

    order: int = Field(default=5, ge=1, le=8, description="longest n-gram; Brants et al. and CCNet: 5")
    min_count: int = Field(default=2, ge=1, description="rarer n-grams of two words and more are pruned")
    smoothing: Literal["stupid_backoff", "kneser_ney"] = Field(
        default="stupid_backoff",
        description=(
            "kneser_ney: interpolated, one discount for each order (Chen and Goodman 1999); 10.7 bytes"
            " an n-gram instead of 8, counting takes three times the disk"
        ),
    )
    backoff: float = Field(
        default=0.4, gt=0, le=1, description="of Stupid Backoff, for every order; Brants et al. 2007: 0.4"
    )


class KenlmSettings(_Settings):
    """How a KenLM model by path is asked: CCNet's way, line by line, with the words as the model has them."""

    pieces: str | None = Field(
        default=None, description="a SentencePiece model whose pieces are the model's words, as CCNet's are"
    )
    lower: bool = Field(default=True, description="texts in lower case, as CCNet's models are trained on")


Bucket = Literal["head", "middle", "tail", "all"]
_CUTOFFS = {"ccnet-paper": (1 / 3, 1 / 3), "ccnet-code": (0.3, 0.4)}


class BucketSettings(_Settings):
    """CCNet's buckets: a source's documents of one language, cut in three by perplexity."""

    cutoffs: Literal["ccnet-paper", "ccnet-code"] = Field(
        default="ccnet-paper",
        description=(
            "ccnet-paper: thirds (Wenzek et al. 2020, section 4.1); ccnet-code: percentiles 30 and 60, as"
            " cc_net's perplexity.py has them"
        ),
    )
    head_fraction: float | None = Field(
        default=None, ge=0, le=1, description="share of lowest perplexity, instead of what `cutoffs` says"
    )
    tail_fraction: float | None = Field(
        default=None, ge=0, le=1, description="share of highest perplexity, instead of what `cutoffs` says"
    )
    keep: tuple[Bucket, ...] = Field(
        default=("head", "middle", "tail", "all"),
        min_length=1,
        description=(
            "buckets that stay; CCNet's users keep head, or head and middle; `all` are documents in languages"
            " that the model never saw"
        ),
    )
    min_language_words: int = Field(
        default=1000,
        ge=0,
        description="words of a language that a model must have counted to have seen it",
    )

    @property
    def fractions(self) -> tuple[float, float]:
        """The shares that are head and tail."""
        head, tail = _CUTOFFS[self.cutoffs]
        return (
            head if self.head_fraction is None else self.head_fraction,
            tail if self.tail_fraction is None else self.tail_fraction,
        )

    @model_validator(mode="after")
    def _parts_of_a_whole(self) -> Self:
        if sum(self.fractions) > 1 + 1e-9:
            raise ValueError(f"head and tail together are {sum(self.fractions):g} of a language, at most 1")
        return self


class CoverageSettings(_Settings):
    """Which documents a source gives by age and domain; nothing set removes nothing."""

    oldest: date | None = Field(default=None, description="documents from before this day are removed")
    newest: date | None = Field(default=None, description="documents from after this day are removed")
    undated: bool = Field(
        default=False, description="whether documents without a date stay where a day is set"
    )
    max_per_domain: int | None = Field(
        default=None,
        ge=1,
        description="the most documents of one host, chosen by hash; those without a URL stay",
    )

    @property
    def selects(self) -> bool:
        """Whether any document can be removed."""
        return any(bound is not None for bound in (self.oldest, self.newest, self.max_per_domain))
