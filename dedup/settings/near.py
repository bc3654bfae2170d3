"""What near duplicates can be asked for, by MinHash and by vectors, with published values as defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from gristmill.dedup.near.curve import optimal_bands
from gristmill.dedup.settings.documents import DocumentSettings


class FuzzySettings(DocumentSettings):
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


class SemanticSettings(DocumentSettings):
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
