"""What each kind of deduplication can be asked for, with published values as defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from gristmill.dedup.near.curve import optimal_bands

Mode = Literal["drop", "mark"]
Survivor = Annotated[str, StringConstraints(pattern=r"^(longest|newest|oldest|id|best:.+)$")]


BenchmarkLayout = Literal[
    "auto", "strings", "mmlu", "arc", "hellaswag", "gsm8k", "humaneval", "lambada", "boolq", "piqa",
    "winogrande",
]  # fmt: skip


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Documents(_Settings):
    """What exact and fuzzy deduplication of whole documents share."""

    scope: str = Field(
        "all",
        min_length=1,
        description="compare within: `all`, `source`, or the name of any column, such as a snapshot",
    )
    survivor: Survivor = Field(
        "longest",
        description=(
            "who stays in a cluster: longest (text bytes), newest, oldest (date), best:COLUMN (highest"
            " number), id"
        ),
    )
    source_priority: tuple[str, ...] = Field(
        (), description="sources that win before `survivor` is asked, best first; others come after"
    )
    snapshot_column: str | None = Field(
        None, description="the column that names the crawl, counted in num_snapshots"
    )
    mode: Mode = Field(
        "drop",
        description=(
            "drop removes duplicates; mark keeps all and writes the same columns, for mixtures that upsample"
        ),
    )
    # The alarm decides whether a step is published, never what is in it: `exclude` keeps it out of the step's
    # identity.
    alarm_fraction: float = Field(
        0.8,
        gt=0,
        le=1,
        exclude=True,
        description="stop when a source loses a larger share (Marin lost 97 % of Gutenberg unseen)",
    )
    alarm_documents: int = Field(
        1000, ge=1, exclude=True, description="sources smaller than this never ring the alarm"
    )
    allow_wipe_out: bool = Field(False, exclude=True, description="go on when the alarm rings")


class ExactSettings(_Documents):
    """Exact duplicates: equal normalised text, or equal normalised URL."""

    key: Literal["text", "url"] = Field("text", description="what must be equal")
    normalise: Literal["none", "space", "letters"] = Field(
        "space",
        description=(
            "none; space: NFC, white space runs to one blank, ends cut; letters: also case-folded and word"
            " characters only"
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _newest_of_a_url(cls, values: object) -> object:
        # C4 keeps the newest page of a URL (tensorflow_datasets c4.py).
        if isinstance(values, dict) and values.get("key") == "url" and "survivor" not in values:
            return {**values, "survivor": "newest"}
        return values


class FuzzySettings(_Documents):
    """Near duplicates: MinHash LSH, clusters, verification."""

    shingle: Literal["words", "characters"] = Field("words", description="of what shingles are made")
    ngram: int = Field(
        5, ge=1, le=64, description="words (FineWeb, Dolma 3: 5) or characters (NeMo: 24) per shingle"
    )
    scheme: Literal["affine32", "fineweb"] = Field(
        "affine32",
        description="affine32: datasketch 2's default; fineweb: datatrove's words, hashes and permutations",
    )
    bands: int = Field(
        26,
        ge=1,
        le=1000,
        description="Dolma 3: 26 bands of 11 rows, P(candidate) .90 at Jaccard .8 and .09 at .6; FineWeb: 14",
    )
    rows: int = Field(11, ge=1, le=256, description="hashes per band; FineWeb: 8")
    lsh_threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description=(
            "choose bands and rows for this Jaccard threshold from 286 hashes by datasketch's optimiser"
        ),
    )
    seed: int = Field(1, ge=0, lt=1 << 32, description="of the permutations; datasketch and datatrove use 1")
    fineweb_hash: Literal["sha1", "xxhash"] = Field(
        "sha1", description="64-bit hash of the shingle string; FineWeb was made with sha1"
    )
    fineweb_language: str | None = Field(
        None, description="datatrove's word tokenizer for a language (eng: spaCy, slow); else blanks split"
    )
    max_characters: int = Field(
        500_000,
        ge=1,
        description="text beyond is not shingled (Marin: huge documents collide with everything)",
    )
    verify: Literal["jaccard", "containment", "none"] = Field(
        "jaccard",
        description=(
            "how a candidate is checked: n-gram Jaccard, the share of its n-grams found in the kept document,"
            " not at all"
        ),
    )
    threshold: float = Field(
        0.8, gt=0, le=1, description="least verified score of a duplicate (Dolma 3: true Jaccard 0.8)"
    )
    estimate_margin: float = Field(
        0.15,
        ge=0,
        le=1,
        description=(
            "skip the exact check when the estimate is further below: 6 standard deviations at 286 hashes"
        ),
    )
    max_candidates: int = Field(
        4096,
        ge=1,
        le=1 << 20,
        description="kept documents a member is estimated against, those of its rarest band keys first",
    )
    max_comparisons: int = Field(
        1024, ge=1, le=1 << 20, description="of these, texts that are compared exactly, most alike first"
    )
    memory_bytes: int = Field(
        4_000_000_000,
        ge=1 << 20,
        description="what no task of clustering or verification exceeds; larger work goes by rounds",
    )
    index: bool = Field(
        False, description="write an index of the survivors, for later runs to compare against"
    )
    report: bool = Field(
        False,
        description="tell for each document which old one, of which corpus, it duplicates or is nearest to",
    )
    against: tuple[str, ...] = Field(
        (), description="folders of earlier runs that wrote an index; their survivors stay and win"
    )
    part_records: int = Field(
        8_000_000, ge=1000, description="band keys per clustering task: 32 bytes of memory each"
    )
    group_documents: int = Field(
        20_000, ge=1, description="documents per verification task, unless one cluster is larger"
    )

    split_documents: int = Field(
        1_000_000, ge=1, description="a cluster of candidates larger than this is verified by many tasks"
    )

    @model_validator(mode="before")
    @classmethod
    def _choose_bands(cls, values: object) -> object:
        if not isinstance(values, dict) or {"bands", "rows"} & set(values):
            return values
        if isinstance(values.get("lsh_threshold"), float) and 0 < values["lsh_threshold"] < 1:
            bands, rows = optimal_bands(values["lsh_threshold"], 286)
            return {**values, "bands": bands, "rows": rows}
        return {**values, "bands": 14, "rows": 8} if values.get("scheme") == "fineweb" else values

    @property
    def shingling(self) -> dict[str, object]:
        """What two runs must agree in for one to use the other's index."""
        names = (
            "shingle",
            "ngram",
            "scheme",
            "bands",
            "rows",
            "seed",
            "fineweb_hash",
            "fineweb_language",
            "max_characters",
            "scope",
        )
        return {name: getattr(self, name) for name in names}

    @property
    def num_hashes(self) -> int:
        return self.bands * self.rows


class SemanticSettings(_Documents):
    """Semantic near duplicates (SemDeDup, Abbas et al. 2023): documents of one cluster whose vectors are
    alike. Vectors are learned from the corpus."""

    survivor: Annotated[str, StringConstraints(pattern=r"^(distant|longest|newest|oldest|id|best:.+)$")] = (
        Field(
            "distant",
            description=(
                "who stays: distant (lowest cosine with its cluster's centroid, SemDeDup's), longest, newest,"
                " oldest, best:COLUMN (such as quality_score, after `classify`), id"
            ),
        )
    )
    threshold: float = Field(0.8, gt=0, le=1, description="least cosine of a duplicate with one that stays")
    context_share: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="share of the cosine by what words stand beside; the rest goes by the words themselves",
    )
    sample_documents: int = Field(
        20_000, ge=1, description="documents, by hash, that vectors and clusters are learned from"
    )
    sample_words: int = Field(1000, ge=10, description="words of each of them")
    cluster_documents: int = Field(
        8_000, ge=1, description="documents of a cluster on the average; the number of clusters follows"
    )
    max_cluster_documents: int = Field(
        40_000,
        ge=2,
        description="a larger cluster is compared in parts, by cosine with its centroid; counted",
    )
    memory_bytes: int = Field(
        2_000_000_000, ge=1 << 26, description="what no task holds of vectors, or of words to learn from"
    )


class _Pieces(_Settings):
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


class SubstringSettings(_Settings):
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


class PassageSettings(_Settings):
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


class ContainedSettings(_Settings):
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


class DecontaminateSettings(_Settings):
    """Overlap with benchmarks: documents that hold an n-gram of a benchmark item are removed or cut."""

    benchmarks: tuple[str, ...] = Field(
        (), description="JSON lines; each string that `layout` or `fields` names is one item"
    )
    layout: Literal[
        "auto",
        "strings",
        "mmlu",
        "arc",
        "hellaswag",
        "gsm8k",
        "humaneval",
        "lambada",
        "boolq",
        "piqa",
        "winogrande",
    ] = Field("auto", description="how rows are laid out; auto: the known one that fits, else every string")
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


class HeldoutSettings(_Settings):
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


class DedupSettings(_Settings):
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
